"""Serves compiled artifacts over the Open Inference Protocol v2 and the OpenAI API.

Takes artifacts and requests, gives answers. The protocol (`handler`) knows no transport: HTTP
(`asgi`), gRPC and others hand it what they received. Neither torch nor the compiler is imported.
"""
