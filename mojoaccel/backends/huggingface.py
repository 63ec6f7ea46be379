"""Compiled models in place of transformers' own, in optimum's manner.

``MojoModelForSequenceClassification.from_pretrained(folder, export=True)`` compiles a local folder;
what it returns is called as the transformers model is, gives the same output class and works in
``transformers.pipeline``. `save_pretrained` writes the artifact beside the configuration, from
where it is loaded again without tracing.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from mojoaccel.api import compile as compile_model
from mojoaccel.errors import error
from mojoaccel.loading import load
from mojoaccel.placing import place_folder
from mojoaccel.runtime.session import Session

ARTIFACT = "model.maccel"
PREPROCESSORS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "preprocessor_config.json",
    "processor_config.json",
)
"""Files that pipelines need beside a model; `save_pretrained` takes them along."""

FILLED = {"attention_mask": 1, "token_type_ids": 0}
"""Inputs that may be left out, with what transformers takes for them."""

SWITCHES = ("output_attentions", "output_hidden_states", "use_cache", "labels")
"""Arguments of transformers' models that ask for what an artifact does not compute."""

Self = TypeVar("Self", bound="MojoModel")


class MojoModel:
    """A compiled transformers model; use one of the classes named after a task.

    Attributes:
        session: The loaded artifact.
        config: The model's transformers configuration.
        auto_class: Class of transformers that loads the original.
        output_class: Class of transformers' outputs that calls return.
        output_ranks: Outputs that the task needs, with their numbers of axes.
        task_mapping: Transformers' table of the classes that its pipeline for the task knows.
    """

    auto_class: ClassVar[str] = "AutoModel"
    output_class: ClassVar[str] = "BaseModelOutputWithPooling"
    task_mapping: ClassVar[str] = ""
    output_ranks: ClassVar[tuple[tuple[str, int], ...]] = (("last_hidden_state", 3),)
    input_modalities: ClassVar[tuple[str, ...]] = ("text",)
    generation_config: ClassVar[None] = None

    def __init__(self, session: Session, config: Any, source: Path) -> None:
        """Wrap a session; use `from_pretrained`.

        Args:
            session: The loaded artifact.
            config: The transformers configuration.
            source: Folder that holds the files of tokenizer or image processor.
        """
        self.session = session
        self.config = config
        self._source = source
        # Where an artifact stays that was not saved yet; it goes with the model.
        self._home: tempfile.TemporaryDirectory[str] | None = None
        self._inputs = session.manifest.inputs
        known_to_pipelines(type(self))

    @classmethod
    def from_pretrained(
        cls: type[Self],
        folder: str | Path,
        *,
        export: bool | None = None,
        threads: int | None = None,
        **options: Any,
    ) -> Self:
        """Load a folder's compiled model, or compile its weights.

        Args:
            folder: A local Hugging Face folder, with an artifact beside config.json or without.
            export: Compile, even if there is an artifact; by default only if there is none.
            threads: Threads of the session; chosen at load if None.
            options: Further arguments of `mojoaccel.compile`, such as ``dtype="bf16"``.

        Raises:
            MojoaccelError: MA201 no model folder, MA209 transformers is missing, MA708 the
                artifact was made for another task; compiling and loading raise their own.
        """
        folder = Path(folder)
        compiled = folder / ARTIFACT
        if export is None:
            export = not compiled.exists()
        if not (folder / "config.json").is_file():
            raise error("MA201", f"{folder} has no config.json, so it is no Hugging Face folder")
        if not export and not compiled.exists():
            raise error(
                "MA201",
                f"{folder} holds no {ARTIFACT}",
                hint="compile it: from_pretrained(..., export=True)",
            )
        config = auto("AutoConfig").from_pretrained(folder, local_files_only=True)
        home = None
        if export:
            home = tempfile.TemporaryDirectory(prefix="mojoaccel-")
            compiled = Path(home.name) / ARTIFACT
            session = cls._compile(folder, threads=threads, output=compiled, **options)
        else:
            session = load(compiled, threads)
        model = cls(session, config, folder)
        model._home = home
        model._check_task()
        return model

    @classmethod
    def _compile(cls, folder: Path, **options: Any) -> Session:
        from mojoaccel.trace.huggingface import load_example

        return compile_model(load_example(folder, cls.auto_class), **options)

    def _check_task(self) -> None:
        """Refuse an artifact whose outputs are not those of the task.

        Raises:
            MojoaccelError: MA708.
        """
        ranks = {t.name: len(t.shape) for t in self.session.manifest.outputs}
        if any(ranks.get(name) != rank for name, rank in self.output_ranks):
            has = ", ".join(f"{name} of {rank} axes" for name, rank in ranks.items())
            wants = ", ".join(f"{name} of {rank} axes" for name, rank in self.output_ranks)
            raise error(
                "MA708",
                f"{type(self).__name__} needs {wants}; the artifact gives {has}",
                hint="load it with the class of its own task, or compile with export=True",
            )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model; see `forward`."""
        return self.forward(*args, **kwargs)

    def forward(self, *args: Any, return_dict: bool = True, **kwargs: Any) -> Any:
        """Run the model as transformers' is called.

        Args:
            args: Inputs in the order of the artifact's signature.
            return_dict: Return the output class; a tuple if False.
            kwargs: Inputs by name, torch tensors or numpy arrays. ``attention_mask`` and
                ``token_type_ids`` may be left out.

        Returns:
            The task's output class of transformers, in tensors for tensors and arrays for arrays.

        Raises:
            MojoaccelError: MA702, an input is missing, unknown or does not fit.
        """
        asked = [name for name in SWITCHES if name in kwargs and bool_of(kwargs.pop(name))]
        if asked:
            raise error("MA702", f"{', '.join(asked)}: the artifact does not compute that")
        names = [t.name for t in self._inputs]
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        given = {k: v for k, v in given.items() if v is not None}
        unknown = [name for name in given if name not in names]
        if unknown or len(args) > len(names):
            raise error(
                "MA702", f"the model takes {', '.join(names)}; got {', '.join(given) or 'too many'}"
            )
        first = next(iter(given.values()), None)
        for name in names:
            if name not in given:
                given[name] = filled(name, first)
        found: dict[str, Any] = self.session(*(given[name] for name in names))
        return (
            transformers_outputs(self.output_class)(**found)
            if return_dict
            else tuple(found.values())
        )

    def save_pretrained(self, folder: str | Path, **_: Any) -> None:
        """Write artifact, configuration and the tokenizer's or processor's files to a folder.

        Raises:
            MojoaccelError: MA603, the folder cannot be written.
        """
        folder = Path(folder)
        place_folder(self.session.path, folder / ARTIFACT)
        self.config.save_pretrained(folder)
        for name in PREPROCESSORS:
            source = self._source / name
            if source.is_file() and not (folder / name).exists():
                shutil.copyfile(source, folder / name)

    # -- what transformers' pipelines ask of a model ----------------------------------------

    @property
    def device(self) -> Any:
        """The CPU, as a ``torch.device``."""
        import torch

        return torch.device("cpu")

    @property
    def dtype(self) -> Any:
        """Type of the first floating-point input, a ``torch.dtype``; float32 if there is none."""
        import torch

        kinds = [t.dtype for t in self._inputs if "float" in t.dtype]
        return getattr(torch, kinds[0] if kinds else "float32")

    @property
    def main_input_name(self) -> str:
        """Name of the first input."""
        return self._inputs[0].name

    def can_generate(self) -> bool:
        """Whether the model generates text: none of the tasks here does."""
        return False

    def to(self: Self, device: Any) -> Self:
        """Stay on the CPU.

        Raises:
            MojoaccelError: MA702, another device is asked for.
        """
        if str(device).split(":")[0] not in ("cpu", "-1"):
            raise error("MA702", f"the artifact runs on the CPU, not on {device}")
        return self

    def close(self) -> None:
        """Free the session."""
        self.session.close()

    def __enter__(self: Self) -> Self:
        """Return the model."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Free the session."""
        self.close()

    def eval(self: Self) -> Self:
        """Return the model: an artifact has no other mode."""
        return self


class MojoModelForFeatureExtraction(MojoModel):
    """Hidden states: ``last_hidden_state`` of shape [batch, sequence, hidden]."""


class MojoModelForSequenceClassification(MojoModel):
    """One label a text: ``logits`` of shape [batch, labels]."""

    auto_class = "AutoModelForSequenceClassification"
    output_class = "SequenceClassifierOutput"
    output_ranks = (("logits", 2),)
    task_mapping = "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES"


class MojoModelForTokenClassification(MojoModel):
    """One label a token: ``logits`` of shape [batch, sequence, labels]."""

    auto_class = "AutoModelForTokenClassification"
    output_class = "TokenClassifierOutput"
    output_ranks = (("logits", 3),)
    task_mapping = "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES"


class MojoModelForQuestionAnswering(MojoModel):
    """Where an answer starts and ends: ``start_logits``, ``end_logits`` of [batch, sequence]."""

    auto_class = "AutoModelForQuestionAnswering"
    output_class = "QuestionAnsweringModelOutput"
    output_ranks = (
        ("start_logits", 2),
        ("end_logits", 2),
    )
    task_mapping = "MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES"


class MojoModelForMaskedLM(MojoModel):
    """Which token stands where: ``logits`` of shape [batch, sequence, vocabulary]."""

    auto_class = "AutoModelForMaskedLM"
    output_class = "MaskedLMOutput"
    output_ranks = (("logits", 3),)
    task_mapping = "MODEL_FOR_MASKED_LM_MAPPING_NAMES"


class MojoModelForImageClassification(MojoModel):
    """One label an image: ``logits`` of shape [batch, labels]."""

    auto_class = "AutoModelForImageClassification"
    output_class = "ImageClassifierOutput"
    output_ranks = (("logits", 2),)
    task_mapping = "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES"
    input_modalities = ("image",)


class MojoModelForAudioClassification(MojoModel):
    """One label a recording: ``logits`` of shape [batch, labels]."""

    auto_class = "AutoModelForAudioClassification"
    output_class = "SequenceClassifierOutput"
    output_ranks = (("logits", 2),)
    task_mapping = "MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES"
    input_modalities = ("audio",)


def auto(name: str) -> Any:
    """Return a class of transformers.

    Raises:
        MojoaccelError: MA209, transformers is missing.
    """
    try:
        import transformers
    except ModuleNotFoundError as e:
        hint = "pip install 'mojoaccel[hf]'"
        raise error("MA209", "Hugging Face models need transformers", hint=hint) from e
    return getattr(transformers, name)


def transformers_outputs(name: str) -> Any:
    """Return one of transformers' output classes."""
    from transformers import modeling_outputs

    return getattr(modeling_outputs, name)


def known_to_pipelines(kind: type[MojoModel]) -> None:
    """Enter a class in the table of its task, as pipelines complain of classes not in there."""
    if kind.task_mapping:
        from transformers.models.auto import modeling_auto

        getattr(modeling_auto, kind.task_mapping).setdefault("mojoaccel", kind.__name__)


def filled(name: str, like: Any) -> Any:
    """Return what an input that was left out stands for, in the kind of another input.

    Raises:
        MojoaccelError: MA702, the input may not be left out.
    """
    if name not in FILLED or like is None:
        raise error("MA702", f"the input {name} is missing")
    if isinstance(like, np.ndarray):
        return np.full(like.shape, FILLED[name], np.int64)
    import torch

    return torch.full(like.shape, FILLED[name], dtype=torch.int64)


def bool_of(value: Any) -> bool:
    """Whether an argument asks for something: labels are tensors, the others flags."""
    return value is not None and value is not False
