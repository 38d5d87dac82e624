"""A program of this project: its commands, the options that all have, its errors and exit status.

The exit status is 0 if everything was done, 1 with one line on standard error if something failed,
2 if the command line itself is wrong, and 130 if Ctrl-C ended it, which one line tells, too.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from typer.core import TyperCommand
from typer.models import ArgumentInfo, OptionInfo

from syncnet_programs.groups import parameters_of
from syncnet_programs.installs import install_command, package_version
from syncnet_programs.starting import STOPPED
from syncnet_programs.terminal import Verbosity, prepare_streams, set_verbosity, verbosity

__all__ = ["GENERAL", "Program", "one_line", "stopping"]

# Typer's own classes have moved from release to release, but not their order.
_ClickException: Any = typer.BadParameter.__mro__[2]
_VALUES: dict[Any, str] = {int: "N", float: "NUMBER", Path: "PATH", str: "TEXT"}
GENERAL = "General"  # the group of the options that all commands have


class Program:
    """One program with its commands.

    Args:
        name: as the user types it.
        summary: what it is for; one with a single command says that in the command.
        failures: what its commands raise for reasons that the user should hear in one line.
        usage: those of them that mean a wrong command line.
        extra: what to install where a package is missing.
    """

    def __init__(
        self,
        name: str,
        summary: str = "",
        *,
        failures: tuple[type[Exception], ...],
        usage: tuple[type[Exception], ...] = (),
        extra: str | None = None,
    ) -> None:
        self.name = name
        self._summary = summary
        self._failures = failures
        self._usage = usage
        self._extra = extra
        self._app = typer.Typer(
            name=name,
            pretty_exceptions_enable=False,
            # Plain lines are for every terminal, and cost no time.
            rich_markup_mode=None,
            context_settings={"help_option_names": ["-h", "--help"]},
        )
        self._version = typer.Option(
            False,
            "--version",
            callback=self._print_version,
            is_eager=True,
            help="Print the version and stop.",
            rich_help_panel=GENERAL,
        )

    def command(self, function: Callable[..., None], *, examples: Sequence[str] = ()) -> None:
        """Add a command; its parameters are the options, its docstring the help.

        Args:
            function: what it does; its name is that of the command.
            examples: complete command lines, for the end of the help.
        """
        if not self._app.registered_commands:

            def common(_version: bool = self._version) -> None:
                """The options that come before a command."""

            self._app.callback(help=self._summary, no_args_is_help=True)(common)
        self._add(function, examples, parameters_of(_say))

    def only(self, function: Callable[..., None], *, examples: Sequence[str] = ()) -> None:
        """Let the program be this one command; see ``command``."""
        version = inspect.Parameter(
            "_version", inspect.Parameter.KEYWORD_ONLY, default=self._version, annotation=bool
        )
        self._add(function, examples, [*parameters_of(_say), version])

    def _add(
        self,
        function: Callable[..., None],
        examples: Sequence[str],
        common: Sequence[inspect.Parameter],
    ) -> None:
        own = [_named(each) for each in parameters_of(function)]
        names = [each.name for each in own]

        @functools.wraps(function)
        def run(**values: Any) -> None:
            quiet, verbose = values["quiet"], values["verbose"]
            if quiet and verbose:
                raise typer.BadParameter("--quiet and --verbose exclude each other")
            chosen = Verbosity.VERBOSE if verbose else Verbosity.NORMAL
            set_verbosity(Verbosity.QUIET if quiet else chosen)
            try:
                function(**{name: values[name] for name in names})
            except KeyboardInterrupt as stop:
                raise _StoppedError(str(stop)) from stop

        # A command may have options of these names that say more.
        parameters = [*own, *(each for each in common if each.name not in names)]
        # What typer makes the options of.
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        self._app.command(
            cls=_Command,
            short_help=(function.__doc__ or "").partition("\n")[0],  # or typer would cut it off
            epilog="\n".join(examples),
            context_settings={"help_option_names": ["-h", "--help"]},
        )(run)

    def run(self, arguments: Sequence[str] | None = None) -> int:
        """Run a command line, by default this process's; return the exit status."""
        prepare_streams()
        try:
            status = self._app(arguments, prog_name=self.name, standalone_mode=False)
            sys.stdout.flush()
        except _ClickException as error:
            return self._fail_usage(error)
        except (_StoppedError, KeyboardInterrupt, typer.Abort) as stop:
            return self._fail(f"stopped: {stop}" if str(stop) else "stopped", STOPPED)
        except BrokenPipeError:
            _discard_output()  # whoever read it has seen enough
            return 1
        except self._failures as error:
            return self._fail(error, 2 if isinstance(error, self._usage) else 1)
        except ModuleNotFoundError as error:
            if self._extra is None or (error.name or "").startswith("syncnet_"):
                raise
            return self._fail(f"this needs {error.name}: {install_command(self._extra)}", 1)
        except OSError as error:
            if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise  # neither a file of the user's nor a full disk: a bug
            _discard_output()
            return self._fail(_sentence(error), 1)
        return status if isinstance(status, int) else 0

    def _print_version(self, wanted: bool) -> None:
        if wanted:
            print(f"{self.name} {package_version()}")
            raise typer.Exit

    def _fail(self, error: object, status: int) -> int:
        if verbosity() is Verbosity.VERBOSE and sys.exc_info()[0] is not None:
            traceback.print_exc()
        print(one_line(self.name, error), file=sys.stderr)
        return status

    def _fail_usage(self, error: Any) -> int:
        message = error.format_message()
        if "\n" in message:  # the help, where no command is named
            print(message, file=sys.stderr)
            return 2
        where = error.ctx.command_path if getattr(error, "ctx", None) else self.name
        return self._fail(f"{message.rstrip('.')}; {where} -h lists what there is", 2)


def one_line(program: str, error: object) -> str:
    """An error as one line; libraries below may have put line breaks into their sentences."""
    return f"{program}: {' '.join(str(error).split())}"


@contextlib.contextmanager
def stopping(sentence: Callable[[], str]) -> Iterator[None]:
    """Let Ctrl-C in the block end the program with a sentence.

    Args:
        sentence: says what was done, and how to go on.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(sentence()) from stop


class _StoppedError(Exception):
    """Ctrl-C, under a name that typer has no opinion about."""


class _Command(TyperCommand):
    """A command whose help lists its options in groups, and examples in the end."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each group, in the order of their first options."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups.setdefault(_group(parameter), []).append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Write the examples, a line each."""
        if self.epilog:
            with formatter.section("Examples"):
                for line in self.epilog.splitlines():
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


def _group(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return "Arguments"
    if parameter.name in ("help", "install_completion", "show_completion"):
        return GENERAL
    return getattr(parameter, "rich_help_panel", None) or "Options"


def _named(parameter: inspect.Parameter) -> inspect.Parameter:
    """Let the help say what a value is, where the parameter does not."""
    kind, *settings = get_args(parameter.annotation) or (parameter.annotation,)
    kinds = set(_parts(kind))
    for setting in settings:
        if isinstance(setting, ArgumentInfo):
            setting.metavar = setting.metavar or parameter.name.upper()
        elif isinstance(setting, OptionInfo) and setting.metavar is None:
            setting.metavar = next((_VALUES[each] for each in _VALUES if each in kinds), None)
    return parameter


def _parts(kind: Any) -> Iterator[Any]:
    yield kind
    for part in get_args(kind):
        yield from _parts(part)


def _say(
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", "-q", help="Print results and errors alone.", rich_help_panel=GENERAL
        ),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            help="Tell details, and where errors arose.",
            rich_help_panel=GENERAL,
        ),
    ] = False,
) -> None:
    """The options that every command has."""


def _discard_output() -> None:
    """Let what is still buffered for standard output go nowhere, so that the end can flush it."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _sentence(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else f"cannot write: {reason}"
