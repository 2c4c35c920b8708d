"""The saved state of a generated world, from which later days are appended."""

from __future__ import annotations

import datetime as dt
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from include.errors import ChurnflowError
from simulator.customers import Customers
from simulator.delivery import Held, write_renamed
from simulator.injections import Injection
from simulator.simulation import Simulation
from simulator.world import World

_CUSTOMERS, _HELD = "customers/", "held/"


class StateError(ChurnflowError):
    """The saved world cannot be continued with the given parameters."""


@dataclass
class State:
    """A simulation and its held-back rows."""

    simulation: Simulation
    held: Held


def open_state(path: Path, world: World, injections: tuple[Injection, ...]) -> State:
    """Load the state at ``path``, or start a new simulation if the file does not exist.

    Args:
        path: The file.
        world: The parameters of the world.
        injections: The injections.

    Raises:
        StateError: The file belongs to another world, its injections differ on generated days, or it cannot be read.
    """
    if not path.exists():
        return State(Simulation.start(world, injections), {})
    try:
        with np.load(path, allow_pickle=False) as saved:
            about = json.loads(str(saved["about"]))
            columns = {name.removeprefix(_CUSTOMERS): saved[name] for name in saved if name.startswith(_CUSTOMERS)}
            held = {_held_key(name): _rows(saved[name]) for name in saved if name.startswith(_HELD)}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise StateError(
            "The state of the world cannot be read.", where=str(path), remedy="Generate into an empty folder."
        ) from error
    last_day = dt.date.fromisoformat(about["last_day"])
    if World.model_validate(about["world"]) != world:
        raise StateError(
            f"The folder contains another world: {json.dumps(about['world'])}.",
            where=str(path),
            remedy="Use the same customers, first day, seed and pace, or generate into another folder.",
        )
    before = {Injection.model_validate(item) for item in about["injections"]}
    if _active_by(before, last_day) != _active_by(set(injections), last_day):
        raise StateError(
            f"The days up to {last_day} were generated with other injections.",
            where=str(path),
            remedy="Repeat the injections up to this day and add only later ones, or generate into another folder.",
        )
    return State(Simulation(world, Customers(**columns), last_day, injections), held)


def save_state(path: Path, state: State) -> None:
    """Write the state atomically, without pickle.

    Args:
        path: The file.
        state: The state.
    """
    simulation = state.simulation
    about = {
        "world": simulation.world.model_dump(mode="json"),
        "injections": [item.model_dump(mode="json") for item in simulation.injections],
        "last_day": simulation.last_day.isoformat(),
    }
    arrays = {f"{_CUSTOMERS}{name}": column for name, column in simulation.customers.columns().items()}
    arrays |= {f"{_HELD}{source}/{due}": _bytes(rows) for (source, due), rows in state.held.items()}

    def write(partial: Path) -> None:
        with partial.open("wb") as stream:
            np.savez(stream, about=np.array(json.dumps(about)), **arrays)  # type: ignore[arg-type]

    write_renamed(path, write)


def _active_by(injections: set[Injection], day: dt.date) -> set[Injection]:
    return {item for item in injections if item.from_day <= day}


def _held_key(name: str) -> tuple[str, int]:
    source, due = name.removeprefix(_HELD).split("/")
    return source, int(due)


def _bytes(rows: pa.Table) -> np.ndarray:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return np.frombuffer(sink.getvalue(), np.uint8)


def _rows(content: np.ndarray) -> pa.Table:
    return pa.ipc.open_stream(pa.py_buffer(content.tobytes())).read_all()
