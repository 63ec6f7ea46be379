"""gRPC without a library for the protocol: messages made from `inference.proto` alone."""

import random
from pathlib import Path

import numpy as np
import pytest

grpc = pytest.importorskip("grpc")
messages = pytest.importorskip("mojoaccel.serve.grpc_server")
pytestmark = pytest.mark.mojo
SERVICE = messages.SERVICE
DESCRIBED = messages._POOL.FindServiceByName(SERVICE)
Infer = messages.message_class("ModelInferRequest")


class Client:
    """Calls methods by name; requests may be bytes that are no message."""

    def __init__(self, channel):
        self.channel = channel

    def call(self, name, request=b"", **options):
        method = DESCRIBED.FindMethodByName(name)
        data = request if isinstance(request, bytes) else request.SerializeToString()
        kind = messages.message_class(method.output_type.name)
        function = self.channel.unary_unary(
            f"/{SERVICE}/{name}", response_deserializer=kind.FromString
        )
        return function(data, timeout=60, **options)

    def refused(self, name, request, **options):
        with pytest.raises(grpc.RpcError) as e:
            self.call(name, request, **options)
        return e.value.code().name, e.value.details()


@pytest.fixture
def client(server):
    with grpc.insecure_channel(server.grpc) as channel:
        yield Client(channel)


def request_for(model="net", rows=1, raw=True):
    request = Infer(model_name=model, id="7")
    values = np.linspace(-1, 1, rows * 32, dtype=np.float32)
    entry = request.inputs.add(name="x", datatype="FP32", shape=[rows, 32])
    if raw:
        request.raw_input_contents.append(values.tobytes())
    else:
        entry.contents.fp32_contents.extend(values)
    return request


def test_every_method_answers(client):
    name = {"name": "net"}
    asked = {
        "ServerLive": {}, "ServerReady": {}, "ServerMetadata": {}, "ModelReady": name,
        "ModelMetadata": name, "ModelConfig": name, "ModelStatistics": name, "RepositoryIndex": {},
        "RepositoryModelUnload": {"model_name": "add"},
        "RepositoryModelLoad": {"model_name": "add"},
    }  # fmt: skip
    assert {m.name for m in DESCRIBED.methods} == asked.keys() | {"ModelInfer"}
    for method, fields in asked.items():
        kind = messages.message_class(DESCRIBED.FindMethodByName(method).input_type.name)
        answer = client.call(method, kind(**fields))
        assert answer.SerializeToString() or method.startswith("RepositoryModel"), method
    assert client.call("ModelReady", messages.message_class("ModelReadyRequest")(name="add")).ready


def test_values_raw_and_in_fields_give_the_same(client):
    first, second = (client.call("ModelInfer", request_for(rows=3, raw=r)) for r in (True, False))
    assert first == second and first.id == "7" and list(first.outputs[0].shape) == [3, 8]
    assert len(first.raw_output_contents[0]) == 3 * 8 * 4


def broken():
    """Yield requests that are each wrong in one way."""
    for change in (
        lambda r: r.raw_input_contents.append(b""),
        lambda r: r.raw_input_contents.__setitem__(0, b"123"),
        lambda r: r.inputs[0].shape.append(2),
        lambda r: r.inputs[0].shape.__setitem__(0, -1),
        lambda r: r.inputs[0].shape.__setitem__(0, 2**62),
        lambda r: setattr(r.inputs[0], "datatype", "FP99"),
        lambda r: setattr(r.inputs[0], "datatype", "FP64"),
        lambda r: setattr(r.inputs[0], "name", "y"),
        lambda r: r.inputs.add(name="x"),
        lambda r: r.ClearField("inputs"),
        lambda r: r.ClearField("raw_input_contents"),
        lambda r: setattr(r, "model_name", ""),
        lambda r: setattr(r, "model_version", "9"),
        lambda r: r.outputs.add(name="z"),
        lambda r: r.parameters["timeout"].__setattr__("string_param", "soon"),
        lambda r: r.parameters["timeout"].__setattr__("int64_param", -1),
        lambda r: r.inputs[0].parameters["shared_memory_region"].__setattr__("string_param", "r"),
    ):
        request = request_for()
        change(request)
        yield request


def test_bad_messages_are_the_clients_fault(client):
    for request in broken():
        assert client.refused("ModelInfer", request)[0] == "INVALID_ARGUMENT", request
    rng = random.Random(0)
    good = request_for().SerializeToString()
    for _ in range(1000):
        data = bytearray(good)
        for _ in range(rng.randint(1, 5)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            client.call("ModelInfer", bytes(data))
        except grpc.RpcError as e:
            assert e.code() is grpc.StatusCode.INVALID_ARGUMENT, (data, e.details())


def test_deadlines_of_client_and_request(client):
    slow = Infer(model_name="slow")
    slow.inputs.add(name="x", datatype="FP32", shape=[64, 1024])
    slow.raw_input_contents.append(bytes(64 * 1024 * 4))
    late = Infer.FromString(slow.SerializeToString())
    late.parameters["timeout"].int64_param = 1000
    assert client.refused("ModelInfer", late) == ("DEADLINE_EXCEEDED", "the deadline has passed")
    function = client.channel.unary_unary(f"/{SERVICE}/ModelInfer")
    with pytest.raises(grpc.RpcError) as e:
        function(slow.SerializeToString(), timeout=0.005)
    assert e.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert client.call("ModelInfer", slow).outputs


def test_api_keys_and_limits(artifacts, serve, tmp_path):
    (tmp_path / "keys").write_text("first-key\nsecond-key\n")
    options = ("--api-key-file", tmp_path / "keys", "--max-body-mb", 1, "--threads", 1)
    with (
        serve(artifacts / "net.maccel", *options, grpc=True) as server,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        client, empty = Client(channel), messages.message_class("RepositoryIndexRequest")()
        for pair in (("authorization", "Bearer second-key"), ("x-api-key", "first-key")):
            assert client.call("ModelInfer", request_for(), metadata=[pair]).outputs
        for pair in ((), ("authorization", "Bearer third"), ("authorization", "first-key")):
            given = {"metadata": [pair] if pair else []}
            for method, request in (("ModelInfer", request_for()), ("RepositoryIndex", empty)):
                assert client.refused(method, request, **given)[0] == "UNAUTHENTICATED"
        assert client.call("ServerReady").ready and client.call("ServerLive").live
        large = {"metadata": [("x-api-key", "first-key")]}
        assert client.refused("ModelInfer", bytes(2 << 20), **large)[0] == "RESOURCE_EXHAUSTED"
        triton = pytest.importorskip("tritonclient.grpc")
        with triton.InferenceServerClient(server.grpc) as other:
            headers = {"authorization": "Bearer first-key"}
            assert other.get_model_metadata("net", headers=headers).name == "net"


def test_the_descriptors_are_those_of_the_proto_file(tmp_path):
    protoc = pytest.importorskip("grpc_tools.protoc")
    folder = Path(messages.__file__).parent
    made = tmp_path / "made.binpb"
    line = ["protoc", f"-I{folder}", f"--descriptor_set_out={made}", "inference.proto"]
    assert protoc.main(line) == 0
    assert made.read_bytes() == (folder / "inference.binpb").read_bytes()
