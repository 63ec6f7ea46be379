"""The table of error codes, and the exit codes of every command.

Each failure that a user can meet has a code `MAnnn`; the hundreds digit names the stage that
raises it (design: 1 detect, 2 trace, 3 optimize, 4 emit, 5 build, 6 package, 7 run, 8 bench,
9 command line). `doctor --explain CODE` prints the explanation kept here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """Process exit codes, the same for every command."""

    OK = 0
    COMPILE_FAILED = 1
    USAGE = 2
    ENVIRONMENT = 3
    ACCURACY = 4
    PERFORMANCE = 5
    INTERNAL = 70
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """One row of the code table.

    Attributes:
        name: As in ``operator-not-supported``.
        exit_code: Of the command that ends with it.
        explanation: The cause.
        hint: The fix, shown with every message that brings no hint of its own.
        fix: The fix where messages say by themselves what is wrong; only ``--explain`` shows it.
    """

    name: str
    exit_code: ExitCode
    explanation: str
    hint: str = ""
    fix: str = ""


_E = ExitCode
CODES: dict[str, ErrorInfo] = {
    # 1: detect and environment
    "MA101": ErrorInfo(
        "compiler-not-found",
        _E.ENVIRONMENT,
        "No Modular Mojo compiler was found in the options, the environment or on PATH.",
        "pip install mojo-compiler==1.2.0, or compile with --target reference",
    ),
    "MA102": ErrorInfo(
        "not-modular-mojo",
        _E.ENVIRONMENT,
        "A program called mojo was found, but it is not Modular's compiler.",
        "pip install mojo-compiler==1.2.0 and put its environment first; see mojoaccel doctor",
    ),
    "MA103": ErrorInfo(
        "compiler-version",
        _E.ENVIRONMENT,
        "The Mojo compiler found is not a version that mojoaccel emits code for.",
        "pip install mojo-compiler==1.2.0",
    ),
    "MA104": ErrorInfo(
        "bad-target",
        _E.USAGE,
        "The --target string could not be read.",
        "use cpu, cpu:<triple>+<cpu>[+feature|-feature]..., reference or null",
    ),
    "MA106": ErrorInfo(
        "max-not-found",
        _E.ENVIRONMENT,
        "The MAX engine needs Modular's max package, of the release that compiled the artifact.",
        "pip install 'mojoaccel[max]'",
    ),
    # 2: trace
    "MA201": ErrorInfo(
        "model-not-found",
        _E.USAGE,
        "The model argument names no file, factory, folder or configured model.",
        "pass file.py:factory, a .pt2 or .onnx file, a Hugging Face folder, or a configured name",
    ),
    "MA202": ErrorInfo(
        "export-failed",
        _E.COMPILE_FAILED,
        "torch.export could not trace the model.",
        fix="torch's reason is in the notes: rewrite that line, or compile what can be traced",
    ),
    "MA203": ErrorInfo(
        "operator-not-supported",
        _E.COMPILE_FAILED,
        "The traced graph uses operators that have no lowering. All of them are listed.",
        "mojoaccel doctor --ops lists what is supported",
    ),
    "MA204": ErrorInfo(
        "data-dependent-control-flow",
        _E.COMPILE_FAILED,
        "The model's Python code branches or sizes a tensor on a value that is only known when "
        "the model runs, so there is no single graph to compile.",
        "use torch.where / torch.cond, or make the value an argument of the factory",
    ),
    "MA205": ErrorInfo(
        "dynamic-dim-specialized",
        _E.COMPILE_FAILED,
        "A dimension was declared dynamic, but the traced graph is only valid for one value of it.",
        "remove the declaration, or the code that fixes the size",
    ),
    "MA206": ErrorInfo(
        "bad-factory",
        _E.USAGE,
        "The model file has no usable factory, or the factory returned something else than a "
        "module with example inputs.",
        "return mojoaccel.Example(module, args, dynamic={...}) or (module, args)",
    ),
    "MA207": ErrorInfo(
        "model-code-failed",
        _E.COMPILE_FAILED,
        "The model's own code raised while it was constructed or run on the example inputs.",
        fix="call factory and module with the example inputs in Python, and correct what raises",
    ),
    "MA208": ErrorInfo(
        "bad-ir",
        _E.USAGE,
        "A graph.ir, plan.ir or model.mojo file could not be read back.",
        fix="give a file that this version wrote (--emit, --save-temps), or compile the model anew",
    ),
    "MA209": ErrorInfo(
        "missing-extra",
        _E.ENVIRONMENT,
        "This input needs a package that is not installed.",
        fix="install the package that the message names",
    ),
    "MA210": ErrorInfo(
        "bad-operator-file",
        _E.USAGE,
        "A file given with --ops, or an operator in it, cannot be used.",
        'it needs OPS = [mojoaccel.CustomOp("space::name", mojo="file.mojo:function")]',
    ),
    "MA211": ErrorInfo(
        "input-written",
        _E.COMPILE_FAILED,
        "The module changes one of its inputs in place. The artifact computes the same outputs, "
        "but the caller's arrays stay as they were.",
        fix="return the new value as an output, or keep it in a registered buffer",
    ),
    # 3: optimize
    "MA301": ErrorInfo(
        "graph-invalid",
        _E.INTERNAL,
        "A pass produced a graph that fails verification. This is a defect of mojoaccel.",
        "report it with --emit graph and --emit plan attached",
    ),
    "MA302": ErrorInfo(
        "form-not-supported",
        _E.COMPILE_FAILED,
        "An operator is supported, but not with these arguments, dtypes or shapes.",
        fix="use the form that the message names, or another operator; --check lists them all",
    ),
    "MA303": ErrorInfo(
        "tiles-not-measured",
        _E.COMPILE_FAILED,
        "Level 3 measures tile parameters, which only works on the machine compiled for. "
        "The compile goes on with the defaults.",
        "compile on the target, or use -O2",
    ),
    # 4: emit
    "MA401": ErrorInfo(
        "emit-failed",
        _E.INTERNAL,
        "The plan could not be printed as Mojo. This is a defect of mojoaccel.",
        "report it with --emit plan attached",
    ),
    # 5: build
    "MA501": ErrorInfo(
        "build-failed",
        _E.COMPILE_FAILED,
        "mojo build rejected the emitted source. Source, command and log are kept.",
        fix="report it with the kept folder attached; -O1 may avoid it meanwhile",
    ),
    "MA502": ErrorInfo(
        "build-timeout",
        _E.COMPILE_FAILED,
        "The compiler did not finish within the time limit and was stopped.",
        "raise --build-timeout, or run mojoaccel doctor if even small models hang",
    ),
    "MA503": ErrorInfo(
        "link-failed",
        _E.COMPILE_FAILED,
        "The object could not be linked into a shared library.",
        fix="the notes have the linker's words; see mojoaccel doctor, and free space in TMPDIR",
    ),
    "MA504": ErrorInfo(
        "forbidden-symbol",
        _E.INTERNAL,
        "The library needs symbols outside libc, so it would not run without the SDK.",
        fix="report it with --emit mojo attached; an operator of your own may only call libc",
    ),
    "MA505": ErrorInfo(
        "compiler-crashed",
        _E.COMPILE_FAILED,
        "The compiler was ended by a signal: a defect of its own, or the system ran out of memory.",
        "compile again with --jobs 1 or more memory; the kept folder repeats the failure",
    ),
    # 6: package
    "MA601": ErrorInfo(
        "artifact-invalid",
        _E.USAGE,
        "The artifact is incomplete, damaged, or not an artifact.",
        "compile it again",
    ),
    "MA602": ErrorInfo(
        "accuracy",
        _E.ACCURACY,
        "The artifact's answers differ from PyTorch's by more than the float64 referee allows.",
        fix="--bisect names the first value that departs; --fp-mode off rules out contraction",
    ),
    "MA603": ErrorInfo(
        "write-failed",
        _E.ENVIRONMENT,
        "A file could not be written; nothing was left half-written.",
        "check free space and permissions",
    ),
    "MA604": ErrorInfo(
        "format-version",
        _E.USAGE,
        "The artifact was made by another format version of mojoaccel.",
        "compile it again with this version",
    ),
    # 7: run
    "MA701": ErrorInfo(
        "cpu-features-missing",
        _E.ENVIRONMENT,
        "This processor lacks instructions that the artifact was compiled for.",
        "compile again on this machine, or with --target for this processor",
    ),
    "MA702": ErrorInfo(
        "bad-input",
        _E.USAGE,
        "An input's name, dtype, rank or shape does not fit the artifact's signature.",
        fix="give what the message expects; mojoaccel run MODEL.maccel --random shows that it runs",
    ),
    "MA703": ErrorInfo(
        "run-failed",
        _E.COMPILE_FAILED,
        "The native code reported an error while running.",
        fix="the message names the cause; run it with --verify to rule out a damaged artifact",
    ),
    "MA704": ErrorInfo(
        "session-closed",
        _E.USAGE,
        "The session was used after close().",
        fix="keep the session open as long as it is used, or load the artifact again",
    ),
    "MA705": ErrorInfo(
        "wrong-platform",
        _E.ENVIRONMENT,
        "The artifact was compiled for another operating system or processor family.",
        "compile again with --target for this machine",
    ),
    "MA706": ErrorInfo(
        "wrong-snapshot",
        _E.USAGE,
        "A snapshot of states was taken of another model, or of another build of this one.",
        fix="restore it in a session of the artifact that it was taken from",
    ),
    "MA708": ErrorInfo(
        "wrong-task",
        _E.USAGE,
        "An artifact was loaded by a class of another task: its outputs are not those the class "
        "returns.",
        fix="load it with the class of the task that it was compiled for",
    ),
    "MA711": ErrorInfo(
        "cannot-listen",
        _E.ENVIRONMENT,
        "The address is in use, or is none of this machine's.",
        "choose another --host or --port; 0 takes a free port",
    ),
    "MA712": ErrorInfo(
        "bad-key-file",
        _E.USAGE,
        "A certificate or key file cannot be read or holds nothing usable.",
        fix="pass a PEM file that this user may read",
    ),
    "MA713": ErrorInfo(
        "signature",
        _E.USAGE,
        "The artifact is not signed with the key that is required.",
        "compile it with --sign KEY.pem, or sign it again after changing it",
    ),
    "MA714": ErrorInfo(
        "ray-failed",
        _E.ENVIRONMENT,
        "Ray could not start the replicas.",
        "`ray status` and its logs say why; artifacts must lie at one path on all nodes",
    ),
    # 8: bench
    "MA801": ErrorInfo(
        "too-slow",
        _E.PERFORMANCE,
        "The measured ratio is below the threshold asked for with --fail-under.",
        fix="look with --profile where the time goes, or lower --fail-under",
    ),
    "MA802": ErrorInfo(
        "server-not-measured",
        _E.ENVIRONMENT,
        "The server cannot be reached, or does not answer the request it is measured by.",
        "check its address and the model's name; --shape gives inputs their sizes",
    ),
    # 9: command line, configuration and cache
    "MA901": ErrorInfo(
        "bad-config",
        _E.USAGE,
        "The configuration file or an environment variable has an unknown key or a bad value.",
        fix="correct or remove the key that the message names",
    ),
    "MA902": ErrorInfo(
        "cache-unusable",
        _E.ENVIRONMENT,
        "The cache folder cannot be written; the compile goes on without it.",
        "set MOJOACCEL_CACHE_DIR to a writable folder",
    ),
    "MA903": ErrorInfo(
        "usage",
        _E.USAGE,
        "The command line is not valid.",
        fix="see mojoaccel COMMAND --help",
    ),
    "MA999": ErrorInfo(
        "internal",
        _E.INTERNAL,
        "An unexpected exception. This is a defect of mojoaccel.",
        "report it with the traceback (--verbose)",
    ),
}
