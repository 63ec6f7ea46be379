"""The Python API of whole workflows: environment, compiling, deploying, measuring, torch.compile.

Built on the commands: what a backend does is what the command line does, in a process of its own,
so that nothing blocks an event loop and cancelling stops the compiler.
"""
