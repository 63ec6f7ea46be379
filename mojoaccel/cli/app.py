"""The command table, and what every command shares: errors, exit codes, interruption."""

from __future__ import annotations

import signal
import sys
from typing import Annotated, Any, NoReturn

import typer

from mojoaccel.cli import bench, cache, compile, deploy, detect, doctor, run
from mojoaccel.cli.console import Console
from mojoaccel.errors import Diagnostic, ExitCode, MojoaccelError

app = typer.Typer(
    name="mojoaccel",
    help="Compile PyTorch models ahead of time into native artifacts made of readable Mojo.",
    no_args_is_help=True,
    # Typer's own Rich output would cost start-up time and escape the console's rules.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from mojoaccel import __version__

        typer.echo(f"mojoaccel {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    pass


app.command("compile")(compile.compile_command)
app.command("run")(run.run_command)
app.command("deploy")(deploy.deploy_command)
app.command("bench")(bench.bench_command)
app.command("detect")(detect.detect_command)
app.command("doctor")(doctor.doctor_command)
app.add_typer(cache.app, name="cache")


def main() -> NoReturn:
    """Run the command line and leave the process with the right exit code."""
    args = sys.argv[1:]
    console = Console(json="--json" in args, verbose=not {"--verbose", "-v"}.isdisjoint(args))
    name = next((a for a in args if not a.startswith("-")), "mojoaccel")
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(_guarded(console, name, args))


def _terminate(_signal: int, _frame: Any) -> None:
    """Turn SIGTERM into an exception, so that temporary folders go and tools are stopped."""
    raise SystemExit(128 + signal.SIGTERM)


def _guarded(console: Console, name: str, args: list[str]) -> int:
    usage_error: Any = typer.BadParameter.__mro__[2]  # Typer's (or Click's) ClickException
    command = typer.main.get_command(app)
    try:
        return int(command.main(args, prog_name="mojoaccel", standalone_mode=False) or 0)
    except MojoaccelError as e:
        console.failure(name, e)
        if console.verbose and e.__cause__ is not None:
            console.say(_traceback(e))
        return int(e.exit_code)
    except usage_error as e:
        return _usage(console, name, e)
    except (KeyboardInterrupt, typer.Abort):
        console.say("interrupted")
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # The reader of our stdout went away (`| head`); there is nobody left to tell.
        sys.stdout = None
        return int(ExitCode.OK)
    except Exception as e:
        return _internal(console, name, e)


def _usage(console: Console, name: str, e: Any) -> int:
    context = getattr(e, "ctx", None)
    path = context.command_path if context is not None else "mojoaccel"
    message = e.format_message()
    hint = f"{path} --help"
    if message.startswith("Usage:"):  # no arguments at all: the message is the help text
        console.say(message)
        return int(ExitCode.USAGE)
    if getattr(e, "option_name", ""):  # the library's wording changes between its versions
        message = f"no such option: {e.option_name}"
        close = getattr(e, "possibilities", None) or ()
        hint = f"did you mean {' or '.join(close)}?" if close else hint
    found = Diagnostic("MA903", message[:1].lower() + message[1:], hint=hint)
    console.failure(name, MojoaccelError((found,)))
    return int(ExitCode.USAGE)


def _internal(console: Console, name: str, e: Exception) -> int:
    found = Diagnostic("MA999", f"{type(e).__name__}: {e}")
    console.failure(name, MojoaccelError((found,)))
    if console.verbose:
        console.say(_traceback(e))
    return int(ExitCode.INTERNAL)


def _traceback(e: BaseException) -> str:
    import traceback

    return "".join(traceback.format_exception(e)).rstrip()
