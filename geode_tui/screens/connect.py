"""Connect: saved connections, a form for one, runs that can be resumed."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import HorizontalGroup, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Input, Static
from textual.worker import Worker

from geode_tui.errors import ConnectError, GeodeTuiError, UsageError, redact
from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.migration.profiles import Profile, delete_profile, load_profiles, save_profile
from geode_tui.screens.answers import error_content, source_content, target_content
from geode_tui.screens.base import GeodeScreen
from geode_tui.screens.dialogs import ConfirmDialog
from geode_tui.source.dsn import short_name, without_password
from geode_tui.source.postgres import Source
from geode_tui.target import credentials
from geode_tui.target.geode_dsn import is_geode
from geode_tui.widgets.connect_form import ConnectForm, Connection
from geode_tui.widgets.text import one_line
from geode_tui.widgets.virtual_table import Row, TableColumn, VirtualTable

_COLUMNS = (
    TableColumn("name", 18),
    TableColumn("source", least=14),
    TableColumn("target", least=12),
    TableColumn("label", 7),
)


class ConnectScreen(GeodeScreen):
    """Choose what is moved where."""

    MODE = "connect"
    HELP = """
## Connect
Choose a saved connection with **enter**, or fill the form and press **enter** in it.

- **t** tests both ends and says what they are; nothing is changed.
- **ctrl+s** saves the connection under the name in *save as*, without passwords.
- A run that stopped stands in the list; **enter** resumes it.

The source is only ever read. An empty password means libpq's own places:
`PGPASSWORD`, `~/.pgpass`, a service file.
"""
    CSS_PATH = "connect.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "ctrl+o",
            "connect",
            "connect",
            id="connect.connect",
            tooltip="Connect, read the catalog, go to the schema",
        ),
        Binding(
            "t,ctrl+t",
            "test",
            "test",
            id="connect.test",
            tooltip="Say what the source and the target are, and change nothing",
        ),
        Binding(
            "ctrl+s",
            "save",
            "save",
            id="connect.save",
            tooltip="Save this connection, without the password",
        ),
        Binding(
            "d,delete",
            "delete",
            "delete",
            id="connect.delete",
            tooltip="Delete the saved connection under the cursor",
        ),
        Binding(
            "n", "new", "new", show=False, id="connect.new", tooltip="Empty the form for a new one"
        ),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._profiles: list[Profile] = []
        self._runs: list[RunRecord] = []

    def compose_body(self) -> ComposeResult:
        """The list, the form, and what was found."""
        with Vertical(id="saved", classes="pane"):
            yield Static("connections and stopped runs", classes="pane-title", markup=False)
            yield VirtualTable(_COLUMNS, id="connections", empty="none saved yet: fill the form")
        with VerticalScroll(id="side", classes="pane", can_focus=False):
            yield ConnectForm(id="form")
            with HorizontalGroup(id="buttons"):
                yield Button("connect", id="connect", variant="primary", compact=True)
                yield Button("test", id="test", compact=True)
                yield Button("save", id="save", compact=True)
            yield Static(id="answer")

    def on_mount(self) -> None:
        """Start with what the workspace was given, else with the list."""
        super().on_mount()
        workspace, form = self.workspace, self.query_one(ConnectForm)
        self._load()
        given = workspace.source_dsn or workspace.target_place
        if given:
            form.fill(_profile_of(workspace.profile, self))
        elif self._profiles:
            form.fill(self._profiles[0])
        if (self._profiles or self._runs) and not given:
            self.query_one("#connections").focus()
        else:
            form.focus_field("source")

    def refresh_view(self) -> None:
        """Show the connections and runs as they are now."""
        if self.is_mounted:
            self._load()

    def copied(self) -> str:
        """What was found, or the row under the cursor."""
        answer = self.query_one("#answer", Static).visual
        return super().copied() or str(answer)

    def worker_failed(self, worker: Worker[object], error: GeodeTuiError) -> None:
        """Show the error beside the form too, and go to the field that is wrong."""
        self._answer(error_content(error))
        self.show_error(error)
        if isinstance(error, ConnectError):
            field = "password" if "password" in error.why else "source"
            self.query_one(ConnectForm).focus_field(field)

    @on(VirtualTable.RowHighlighted, "#connections")
    def _highlighted(self, event: VirtualTable.RowHighlighted) -> None:
        if event.table.has_focus and event.index < len(self._profiles):
            self.query_one(ConnectForm).fill(self._profiles[event.index])

    @on(VirtualTable.RowSelected, "#connections")
    def _selected(self, event: VirtualTable.RowSelected) -> None:
        if event.index < len(self._profiles):
            self.query_one(ConnectForm).fill(self._profiles[event.index])
            self.action_connect()
        else:
            self._resume(self._runs[event.index - len(self._profiles)])

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self.action_connect()

    @on(Button.Pressed)
    async def _pressed(self, event: Button.Pressed) -> None:
        await self.run_action(str(event.button.id))

    def action_back(self) -> None:
        """Leave the form, or stop waiting for an answer."""
        waiting = [worker for worker in self.workers if worker.group == "connect"]
        if any(worker.is_running for worker in waiting):
            self.workers.cancel_group(self, "connect")
            self._answer(Content.styled("– given up", "$text-warning"))
        self.query_one("#connections").focus()

    def action_new(self) -> None:
        """Empty the form."""
        form = self.query_one(ConnectForm)
        form.fill(Profile("", "", ""))
        form.focus_field("source")

    def action_connect(self) -> None:
        """Connect and read the catalog, then show it."""
        connection = self._connection()
        if connection:
            self._connect(connection)

    def action_test(self) -> None:
        """Say what both ends are."""
        connection = self._connection()
        if connection:
            self._test(connection)

    def action_save(self) -> None:
        """Save the form as a profile."""
        connection = self._connection()
        if connection is None:
            return
        if not connection.profile.name:
            self.query_one(ConnectForm).focus_field("profile")
            self.say("give it a name first")
            return
        try:
            save_profile(connection.profile)
        except GeodeTuiError as error:
            self.show_error(error)
            return
        self._load()
        self.say(f"saved {connection.profile.name}")

    @work(group="delete", exclusive=True, exit_on_error=False)
    async def action_delete(self) -> None:
        """Delete the profile under the cursor, after asking."""
        index = self.query_one("#connections", VirtualTable).cursor
        if not 0 <= index < len(self._profiles):
            self.say("no saved connection under the cursor")
            return
        name = self._profiles[index].name
        question = f"Delete the saved connection {name}? The databases are not touched."
        sure = await self.app.push_screen_wait(
            ConfirmDialog("delete connection", question, yes="delete", no="keep")
        )
        if sure:
            delete_profile(name)
            self._load()

    @work(group="connect", exclusive=True, exit_on_error=False)
    async def _connect(self, connection: Connection) -> None:
        profile, workspace = connection.profile, self.workspace
        _require_idle(self)
        if not await self._may_drop_edits():
            return
        self._wait(f"connecting to {short_name(profile.source)} and reading its catalog")
        if profile.mapping:
            workspace.mapping_path = Path(profile.mapping)
        await workspace.connect(
            connection.dsn, password=connection.password, schemas=profile.schemas
        )
        workspace.profile, workspace.label = profile, profile.label
        workspace.target_place, workspace.graph = profile.target, profile.graph or None
        self._answer(Content.styled("✓ connected", "$text-success"))
        self.app.show_in("schema")

    @work(group="connect", exclusive=True, exit_on_error=False)
    async def _test(self, connection: Connection) -> None:
        profile = connection.profile
        self._wait(f"asking {short_name(profile.source)}")
        source = await Source.connect(connection.dsn, password=connection.password)
        try:
            catalog = await source.catalog(profile.schemas)
        finally:
            await source.close()
        self._answer(source_content(catalog))
        target = await asyncio.to_thread(target_content, profile.target, profile.graph or None)
        self._answer(Content("\n").join([source_content(catalog), target]))

    @work(group="connect", exclusive=True, exit_on_error=False)
    async def _resume(self, run: RunRecord) -> None:
        workspace = self.workspace
        _require_idle(self)
        if workspace.source is None or workspace.source_dsn != run.source_dsn:
            if not await self._may_drop_edits():
                return
            self._wait(f"connecting to {short_name(run.source_dsn)} to resume run {run.number}")
            password = self._password_for(run)
            await workspace.connect(run.source_dsn, password=password, schemas=run.schemas)
        if is_geode(run.target) and credentials.password_of(run.target) is None:
            self._connection()  # the form may hold it
        workspace.label, workspace.target_place = run.label, run.target
        workspace.graph = run.graph or None
        workspace.resume_run(run)
        self.app.show_in("run")

    async def _may_drop_edits(self) -> bool:
        workspace = self.workspace
        if workspace.history is None or workspace.saved or not workspace.history.undo_label:
            return True
        question = ConfirmDialog(
            "the mapping is not saved",
            "Connecting reads the mapping anew; edits that are not saved are lost.",
            yes="lose them",
            no="stay",
        )
        sure = await self.app.push_screen_wait(question)
        return sure

    def _password_for(self, run: RunRecord) -> str | None:
        """The password in the form, where the form is about the run's source."""
        connection = self._connection()
        same = connection is not None and connection.profile.source == run.source_dsn
        return connection.password if connection and same else None

    def _connection(self) -> Connection | None:
        form = self.query_one(ConnectForm)
        try:
            connection = form.read()
            if connection.target_password:
                credentials.remember(connection.profile.target, connection.target_password)
            return connection
        except UsageError as error:
            form.focus_field(form.field_read)
            self._answer(error_content(error))
            self.show_error(error)
            return None

    def _load(self) -> None:
        try:
            self._profiles = load_profiles()
            with closing(Journal()) as journal:
                self._runs = [run for run in journal.runs() if run.resumable]
        except GeodeTuiError as error:
            self._answer(error_content(error))
        rows = [*map(_profile_row, self._profiles), *map(_run_row, self._runs)]
        self.query_one("#connections", VirtualTable).set_rows(rows)

    def _wait(self, what: str) -> None:
        self._answer(Content.assemble(("… ", "$text-accent"), one_line(what), "  esc gives up"))

    def _answer(self, content: Content) -> None:
        answer = self.query_one("#answer", Static)
        answer.update(content)
        self.call_after_refresh(answer.scroll_visible, animate=False)


def _require_idle(screen: GeodeScreen) -> None:
    runner = screen.workspace.runner
    if runner is not None and not runner.finished:
        raise UsageError(
            "a migration is running",
            "it needs the source and the mapping as they are",
            "wait for its end, or stop it safely on the screen run",
        )


def _profile_of(profile: Profile | None, screen: GeodeScreen) -> Profile:
    """What the workspace works on, as a profile."""
    workspace = screen.workspace
    return profile or Profile(
        name="",
        source=without_password(workspace.source_dsn),
        target=workspace.target_place,
        graph=workspace.graph or "",
        label=workspace.label,
        schemas=workspace.schemas,
    )


def _profile_row(profile: Profile) -> Row:
    source = short_name(profile.source)
    label = Content.styled(one_line(profile.label), "bold $text-error")
    return profile.name, source, redact(profile.target), label


def _run_row(run: RunRecord) -> Row:
    day = time.strftime("%d %b %H:%M", time.localtime(run.started))
    name = Content.styled(f"■ run {run.number} {run.state}", "$text-warning")
    return name, f"{run.source}, {day}", redact(run.target), "resume"
