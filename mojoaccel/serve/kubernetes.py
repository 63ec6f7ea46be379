"""``deploy --emit kserve``: manifests for KServe, and an image of the runtime and the artifact.

The image holds Python, the packages that serving needs, the rooms of this package that it needs,
and the artifact: no PyTorch, no compiler. KServe needs no storage: the artifact is in the image.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mojoaccel.artifact.archive import open_folder
from mojoaccel.artifact.copying import copy_folder
from mojoaccel.artifact.hashing import file_digest
from mojoaccel.artifact.manifest import Manifest, read_manifest
from mojoaccel.errors import error
from mojoaccel.paths import cache_root
from mojoaccel.runtime.session import check_files
from mojoaccel.serve.options import ServeOptions
from mojoaccel.serve.repository import Repository

PACKAGES = ("numpy", "typer", "uvicorn", "uvloop", "httptools", "orjson", "grpcio", "protobuf",
            "prometheus-client")  # fmt: skip
ROOMS = ("__init__.py", "__main__.py", "codes.py", "errors.py", "config.py", "environment.py",
         "paths.py", "artifact", "runtime", "serve", "cli")  # fmt: skip
"""What of this package serving imports."""
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
BASE_MEMORY = 256
"""MiB beside the weights: an idle server takes less than half of it, requests the rest."""
USER = 65532
PORT = 8000
GRPC_PORT = 8001


@dataclass(frozen=True, slots=True)
class Image:
    """What is deployed.

    Attributes:
        name: Name of the model, and of the Kubernetes objects.
        folder: The artifact.
        manifest: Its manifest.
        options: How it is served.
        reference: The image's name in a registry.
        least: Replicas at least.
        most: Replicas at most.
    """

    name: str
    folder: Path
    manifest: Manifest
    options: ServeOptions
    reference: str
    least: int
    most: int

    @staticmethod
    def of(options: ServeOptions, reference: str, least: int, most: int) -> Image:
        """Read the artifact; it need not fit this machine.

        Raises:
            MojoaccelError: MA601 it is damaged, MA903 there is not exactly one.
        """
        repository = Repository(options)
        repository.look()
        entries = list(repository.entries.values())
        if len(entries) != 1:
            raise error("MA903", f"--emit kserve takes one artifact, {len(entries)} are given")
        folder = open_folder(entries[0].path, cache_root() / "unpacked")
        manifest = read_manifest(folder)
        if manifest.engine != "mojo":
            raise error("MA903", f"the image has no {manifest.engine} to run this artifact")
        check_files(folder, manifest)
        name = object_name(entries[0].name)
        tag = file_digest(folder / "manifest.json")[:12]
        image = reference or f"mojoaccel/{name}:{tag}"
        return Image(entries[0].name, folder, manifest, options, image, least, most)

    @property
    def threads(self) -> int:
        """Processors of a replica."""
        return (self.options.threads or 1) * (self.options.instances or 1)

    @property
    def arguments(self) -> list[str]:
        """The server's command line in the image."""
        options = self.options
        found = ["deploy", f"/models/{self.name}.maccel", "--host", "0.0.0.0"]
        found += ["--port", str(PORT), "--grpc-port", str(GRPC_PORT)]
        found += [
            "--instances",
            str(options.instances or 1),
            "--threads",
            str(options.threads or 1),
        ]
        found += ["--queue", str(options.queue), "--grace-s", f"{options.grace:g}"]
        if options.max_batch:
            found += ["--max-batch", str(options.max_batch)]
        if options.max_delay:
            found += ["--max-delay-ms", f"{options.max_delay * 1e3:g}"]
        if options.timeout:
            found += ["--timeout-ms", f"{options.timeout * 1e3:g}"]
        return found


def object_name(text: str) -> str:
    """Return a name as Kubernetes takes it: lower-case letters, digits and dashes, up to 63."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].strip("-")
    return name if name[:1].isalpha() else f"m-{name}"[:63].strip("-")


def requirements(manifest: Manifest) -> str:
    """Return the packages of the image, in the versions that are installed here.

    Raises:
        MojoaccelError: MA209, one is not installed.
    """
    names = [*PACKAGES, *(["tokenizers"] if manifest.task else [])]
    try:
        return "".join(f"{n}=={version(n).partition('+')[0]}\n" for n in names)
    except PackageNotFoundError as e:
        hint = "pip install 'mojoaccel[serve]'"
        raise error("MA209", f"{e.name} is not installed here", hint=hint) from e


def dockerfile(image: Image) -> str:
    """Return the Dockerfile; its context is what `write_context` writes."""
    python = f"python:{sys.version_info.major}.{sys.version_info.minor}-slim"
    command = json.dumps(["python", "-m", "mojoaccel", *image.arguments])
    return f"""\
# {image.name}: the serving runtime and the artifact, without PyTorch and without a compiler.
FROM {python} AS packages
COPY requirements.txt /requirements.txt
RUN pip install --no-cache-dir --no-compile --target=/runtime -r /requirements.txt

FROM {python}
COPY --from=packages /runtime /runtime
COPY runtime /runtime
COPY models /models
ENV PYTHONPATH=/runtime PYTHONDONTWRITEBYTECODE=1 MOJOACCEL_CACHE_DIR=/tmp/mojoaccel
USER {USER}:{USER}
EXPOSE {PORT} {GRPC_PORT}
ENTRYPOINT {command}
"""


def write_context(image: Image, place: Path) -> None:
    """Write the build context: Dockerfile, requirements, runtime, artifact, manifests.

    Raises:
        MojoaccelError: MA603, it cannot be written.
    """
    package = Path(__file__).parents[1]
    skipped = shutil.ignore_patterns("__pycache__", "*.pyc")
    target = place / "runtime" / "mojoaccel"
    try:
        target.mkdir(parents=True, exist_ok=True)
        for room in ROOMS:
            source = package / room
            if source.is_dir():
                shutil.copytree(source, target / room, dirs_exist_ok=True, ignore=skipped)
            else:
                shutil.copyfile(source, target / room)
        model = place / "models" / f"{image.name}.maccel"
        shutil.rmtree(model, ignore_errors=True)
        copy_folder(image.folder, model)
        for name, text in files(image).items():
            (place / name).write_text(text, encoding="utf-8")
    except (OSError, shutil.Error) as e:
        raise error("MA603", f"{place} cannot be written: {e}") from e


def files(image: Image) -> dict[str, str]:
    """Return the texts by name."""
    return {
        "Dockerfile": dockerfile(image),
        "requirements.txt": requirements(image.manifest),
        "inferenceservice.yaml": to_yaml(manifests(image)),
    }


def manifests(image: Image) -> list[dict[str, Any]]:
    """Return the ServingRuntime and the InferenceService."""
    name = object_name(image.name)
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "mojoaccel"}
    runtime = f"mojoaccel-{name}"[:63].strip("-")
    return [
        {
            "apiVersion": "serving.kserve.io/v1alpha1",
            "kind": "ServingRuntime",
            "metadata": {"name": runtime, "labels": labels},
            "spec": {
                "supportedModelFormats": [{"name": "mojoaccel", "version": "1"}],
                "protocolVersions": ["v2", "grpc-v2"],
                "multiModel": False,
                "containers": [_container(image)],
                "volumes": [{"name": "scratch", "emptyDir": {}}],
            },
        },
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "predictor": {
                    "minReplicas": image.least,
                    "maxReplicas": image.most,
                    "nodeSelector": {"kubernetes.io/arch": ARCHITECTURES[image.manifest.arch]},
                    "terminationGracePeriodSeconds": int(image.options.grace) + 10,
                    "model": {
                        "modelFormat": {"name": "mojoaccel", "version": "1"},
                        "runtime": runtime,
                        "protocolVersion": "v2",
                    },
                }
            },
        },
    ]


def _container(image: Image) -> dict[str, Any]:
    stored = (image.manifest.weights.size + image.manifest.library.size) >> 20
    memory = f"{stored + BASE_MEMORY}Mi"

    def probe(path: str, period: int, failures: int) -> dict[str, Any]:
        return {
            "httpGet": {"path": path, "port": PORT},
            "periodSeconds": period,
            "failureThreshold": failures,
            "timeoutSeconds": 2,
        }

    return {
        "name": "kserve-container",
        "image": image.reference,
        "ports": [{"name": "http1", "containerPort": PORT, "protocol": "TCP"}],
        "startupProbe": probe("/v2/health/ready", 1, 120),
        "readinessProbe": probe("/v2/health/ready", 2, 1),
        "livenessProbe": probe("/v2/health/live", 10, 3),
        "resources": {
            "requests": {"cpu": str(image.threads), "memory": memory},
            "limits": {
                "cpu": str(image.threads),
                "memory": f"{stored + 4 * BASE_MEMORY}Mi",
            },
        },
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],
    }


def to_yaml(documents: list[dict[str, Any]]) -> str:
    """Return documents of plain data as YAML."""
    import yaml

    return str(yaml.safe_dump_all(documents, sort_keys=False))
