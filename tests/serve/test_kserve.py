"""`deploy --emit kserve`: manifests by their schema, the Dockerfile, the image's runtime run."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, command

yaml = pytest.importorskip("yaml")
jsonschema = pytest.importorskip("jsonschema")
httpx = pytest.importorskip("httpx")
pytestmark = pytest.mark.mojo
UNREACHABLE = ("pull", "registry", "resolve", "NewConnectionError", "CERTIFICATE_VERIFY_FAILED")
SCHEMA = json.loads((Path(__file__).parent / "kserve_schema.json").read_text())
FORBIDDEN = ("torch", "mojo", "triton", "transformers")


def deploy(*args):
    done = subprocess.run(
        command("deploy", *args), cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def context(artifacts, tmp_path_factory):
    """A build context, and the document that ``--json`` prints."""
    place = tmp_path_factory.mktemp("context")
    code, out, err = deploy(
        artifacts / "net.maccel", "--emit", "kserve", "--output", place, "--replicas", "2:5",
        "--threads", 2, "--max-delay-ms", 1.5, "--name", "My_Net", "--json",
    )  # fmt: skip
    assert code == 0, err
    return place, json.loads(out)


def test_manifests_follow_kserves_schema(context):
    place, _ = context
    documents = list(yaml.safe_load_all((place / "inferenceservice.yaml").read_text()))
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for document in documents:
        assert not list(validator.iter_errors(document))
    runtime, service = documents
    assert (runtime["kind"], service["kind"]) == ("ServingRuntime", "InferenceService")
    predictor = service["spec"]["predictor"]
    assert predictor["model"]["runtime"] == runtime["metadata"]["name"] == "mojoaccel-my-net"
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (2, 5)
    [container] = runtime["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": 8000}
    assert container["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"
    assert container["resources"]["requests"]["cpu"] == "2"
    for broken in ({**service, "spec": {}}, {**runtime, "kind": "Runtime"}):
        assert list(validator.iter_errors(broken))
    container["port"] = []
    assert list(validator.iter_errors(runtime))


def test_the_dockerfile_copies_what_is_there(context):
    parser = pytest.importorskip("dockerfile_parse")
    place, document = context
    text = (place / "Dockerfile").read_text()
    assert document["files"]["Dockerfile"] == text
    found = parser.DockerfileParser(str(place / "Dockerfile"))
    steps = [(s["instruction"], s["value"]) for s in found.structure]
    kinds = {"FROM", "COPY", "RUN", "ENV", "USER", "EXPOSE", "ENTRYPOINT", "COMMENT"}
    assert {kind for kind, _ in steps} <= kinds
    assert found.is_multistage and len(found.parent_images) == 2
    last = len(steps) - 1 - [kind for kind, _ in steps][::-1].index("FROM")
    copied = [shlex.split(value) for kind, value in steps[last:] if kind == "COPY"]
    sources = [words[0] for words in copied if not words[0].startswith("--from")]
    assert sorted(sources) == ["models", "runtime"] and all((place / s).is_dir() for s in sources)
    assert not [value for kind, value in steps[last:] if kind == "RUN"]  # nothing is installed
    assert dict(steps)["USER"] != "root"
    requirements = (place / "requirements.txt").read_text().splitlines()
    assert all("==" in line and not line.startswith(FORBIDDEN) for line in requirements)
    names = {p.name for p in (place / "runtime" / "mojoaccel").iterdir()}
    assert "serve" in names and not names & {"trace", "emit", "kernels", "toolchain", "passes"}


STUB = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {forbidden}:
            raise ImportError(name + " is not in the image")
sys.meta_path.insert(0, Refuse())
"""


def test_the_images_command_serves(context, tmp_path):
    """With the image's own copy of the runtime, and neither torch nor the compiler to be had."""
    place, _ = context
    (tmp_path / "sitecustomize.py").write_text(STUB.format(forbidden=FORBIDDEN))
    [line] = [x for x in (place / "Dockerfile").read_text().splitlines() if "ENTRYPOINT" in x]
    words = json.loads(line.removeprefix("ENTRYPOINT "))
    assert words[:3] == ["python", "-m", "mojoaccel"]
    words = [str(place) + w if w.startswith("/models/") else w for w in words[3:]]
    for option, value in (("--host", "127.0.0.1"), ("--port", "0"), ("--grpc-port", "0")):
        words[words.index(option) + 1] = value
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{place / 'runtime'}"}
    process = subprocess.Popen(
        [sys.executable, "-m", "mojoaccel", *words, "--json"], cwd=tmp_path, env=env,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        url = json.loads(line)["url"]
        row = {"name": "x", "shape": [1, 32], "datatype": "FP32", "data": [0.5] * 32}
        answer = httpx.post(f"{url}/v2/models/My_Net/infer", json={"inputs": [row]})
        assert answer.status_code == 200, answer.text
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        assert str(place / "models") in maps  # the artifact of the image
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_the_image_is_built_and_starts(context):
    """By whichever builder is here; with the image's user, and nothing but /tmp to write to."""
    place, _ = context
    here = [b for b in ("docker", "podman", "buildah") if shutil.which(b)]
    works = [b for b in here if not subprocess.run([b, "info"], capture_output=True).returncode]
    if not works:
        pytest.skip("neither docker nor podman nor buildah works here")
    builder = works[0]
    name = "localhost/mojoaccel-test:built"

    def run(*words, ok=True):
        done = subprocess.run([builder, *map(str, words)], capture_output=True, text=True)
        assert done.returncode == 0 or not ok, done.stdout[-2000:] + done.stderr[-2000:]
        return done

    chroot = ("--isolation", "chroot") if builder == "buildah" else ()
    built = run("build", *chroot, "-t", name, place, ok=False)
    if built.returncode and any(w in built.stdout + built.stderr for w in UNREACHABLE):
        pytest.skip(f"{builder} cannot get the base image or the packages: {built.stderr[-200:]}")
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    try:
        if builder == "buildah":
            found = run("from", "--pull-never", name).stdout.strip()
            [line] = [x for x in (place / "Dockerfile").read_text().splitlines() if "ENTRYP" in x]
            words = json.loads(line.removeprefix("ENTRYPOINT "))
            out = run("run", *chroot, found, "--", *words, "--once", "--json").stdout
            run("rm", found)
        else:
            locked = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL")
            out = run("run", "--rm", *locked, name, "--once", "--json").stdout
        assert json.loads(out)["models"] == ["My_Net"]
    finally:
        run("rmi", name, ok=False)


def test_what_cannot_be_emitted(artifacts, tmp_path):
    (tmp_path / "keys").write_text("key\n")
    net = artifacts / "net.maccel"
    for args, text in (
        ((artifacts, "--emit", "kserve"), "takes one artifact"),
        ((net, "--emit", "helm"), "--emit is kserve"),
        ((net, "--emit", "kserve", "--api-key-file", tmp_path / "keys"), "do not go into an image"),
    ):
        code, out, err = deploy(*args)
        assert code == 2 and not out and text in err, err
