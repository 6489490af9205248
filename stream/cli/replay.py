"""``liveshop replay``: what was recorded, counted once more beside the workers. One module a command."""

from typing import Final

import typer

from stream.cli import replay_diff, replay_entries, replay_export, replay_plan, replay_promote, replay_run

app: Final = typer.Typer(
    help="Count what was recorded once more, beside the workers: plan it, run it, see what differs.",
    no_args_is_help=True,
)


@app.callback()
def _replay() -> None:
    """Count what was recorded once more, beside the workers: plan it, run it, see what differs."""


app.command("plan")(replay_plan.command)
app.command("run")(replay_run.command)
app.command("diff")(replay_diff.command)
app.command("export")(replay_export.command)
app.command("promote")(replay_promote.command)
app.command("undo")(replay_promote.undo)
app.command("list")(replay_entries.list_replays)
app.command("show")(replay_entries.show)
app.command("delete")(replay_entries.delete)
