"""The v2 protocol over gRPC, through NVIDIA's client."""

import numpy as np
import pytest

client_grpc = pytest.importorskip("tritonclient.grpc")
pytestmark = pytest.mark.mojo


@pytest.fixture
def triton(server):
    with client_grpc.InferenceServerClient(server.grpc) as found:
        yield found


def given(x, datatype="FP32", name="x"):
    found = client_grpc.InferInput(name, x.shape, datatype)
    found.set_data_from_numpy(x)
    return found


def test_metadata_and_health(triton):
    assert triton.is_server_live() and triton.is_server_ready()
    assert triton.is_model_ready("net") and not triton.is_model_ready("nobody")
    found = triton.get_model_metadata("net")
    assert list(found.inputs[0].shape) == [-1, 32] and found.inputs[0].datatype == "FP32"
    config = triton.get_model_config("net").config
    assert config.max_batch_size == 64 and config.input[0].data_type == 11
    assert {m.name for m in triton.get_model_repository_index().models} >= {"net", "kinds"}


def test_infer_equals_the_session(triton, artifacts):
    import mojoaccel

    x = np.random.default_rng(0).standard_normal((5, 32)).astype(np.float32)
    answer = triton.infer("net", [given(x)], request_id="r")
    assert answer.get_response().id == "r"
    with mojoaccel.load(artifacts / "net.maccel", 1) as session:
        np.testing.assert_array_equal(answer.as_numpy("output"), session.run_flat([x])[0])
    count = triton.get_inference_statistics("net").model_stats[0].inference_stats.success.count
    assert count > 0


def test_bad_requests(triton):
    for x in (np.zeros((1, 31), np.float32), np.zeros(32, np.float32), np.zeros((0, 32), "f4")):
        with pytest.raises(Exception, match="INVALID_ARGUMENT"):
            triton.infer("net", [given(x)])
    with pytest.raises(Exception, match="unknown model"):
        triton.infer("nobody", [given(np.zeros((1, 32), np.float32))])


def test_unload_and_load(triton):
    triton.unload_model("kinds")
    assert not triton.is_model_ready("kinds")
    triton.load_model("kinds")
    assert triton.is_model_ready("kinds")
    with pytest.raises(Exception, match="parameter 'config' is not supported"):
        triton.load_model("kinds", config="{}")
