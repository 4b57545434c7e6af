"""What a person sees: the screen of a running app as text."""

from __future__ import annotations

from textual.app import App
from textual.pilot import Pilot

SIZES = ((80, 24), (120, 40))
NARROW, BROAD = SIZES


def screen_text(app: App[None]) -> str:
    """The lines of the terminal, trailing blanks left out."""
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips)


def footer_keys(app: App[None]) -> list[str]:
    """The words of the keys that the footer offers, the palette among them."""
    bindings = app.screen.active_bindings.values()
    shown = {b.binding.action: b.binding.description for b in bindings if b.binding.show}
    return [*shown.values(), "palette"]


async def settle(pilot: Pilot[None]) -> None:
    """Wait until nothing is under way: no worker, no message."""
    await pilot.pause()
    await pilot.app.workers.wait_for_complete(
        [worker for worker in pilot.app.workers if worker.group not in _WAITING_FOR_A_PERSON]
    )
    await pilot.pause()


_WAITING_FOR_A_PERSON = ("quit", "delete")
