"""Every command of the pages and of the Makefile parses as typed."""

import re
import shlex

import click
import pytest

from pipelines.cli.commands import banyan
from pipelines.core.settings import PROJECT

PAGES = [PROJECT / "Makefile", *PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md")]
COMMAND = re.compile(r"^(?:\t@| {4})python -m pipelines (.+?)(?: >/dev/null)?$", re.MULTILINE)


def documented_commands() -> set[str]:
    texts = (page.read_text("utf-8").replace("\\\n", " ") for page in PAGES)
    lines = {line for text in texts for line in COMMAND.findall(text)}
    return {re.sub(r"\$\(if .*\)\)|\$\((\w+)\)", r"\1", line) for line in lines}


def parse(arguments: list[str]) -> None:
    """Parse arguments as the command line does, without running the command."""
    command: click.Command = banyan
    context = None
    name: str | None = "banyan"
    while isinstance(command, click.Group):
        context = command.make_context(name, arguments, parent=context)
        rest = [*context._protected_args, *context.args]
        name, next_command, arguments = command.resolve_command(context, rest)
        assert next_command is not None
        command = next_command
    command.make_context(name, arguments, parent=context)


@pytest.mark.parametrize("line", sorted(documented_commands()))
def test_a_documented_command_parses(line: str):
    parse(shlex.split(line))


def test_the_pages_have_commands():
    benchmarks = {line.split()[1] for line in documented_commands() if line.startswith("bench ")}
    assert benchmarks >= {"allocate", "budgets", "models", "score", "simulate", "real"}
