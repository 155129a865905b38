"""Which stage may start now: bounded workers, bounded GPU stages, first data set first."""

from __future__ import annotations

from collections.abc import Iterable

from flows.graph import Stage


class Schedule:
    """Hands out stages whose upstream is finished, so that no worker is ever held by a stage that only waits.

    Data sets come in the order given and stages in the order of `stages`, which must be topological. Stages of `gpu`
    never exceed `gpu_slots` at a time; the remaining workers go to other stages.
    """

    def __init__(self, stages: Iterable[Stage], *, workers: int, gpu_slots: int) -> None:
        listed = list(stages)
        order = {dataset: i for i, dataset in enumerate(dict.fromkeys(stage.dataset for stage in listed))}
        self._waiting = {stage.address: stage for stage in sorted(listed, key=lambda stage: order[stage.dataset])}
        self._open = set(self._waiting)
        self._running: dict[str, Stage] = {}
        self.workers = workers
        self._gpu_slots = gpu_slots

    @property
    def done(self) -> bool:
        """Whether every stage has finished."""
        return not self._open

    def take(self) -> list[Stage]:
        """The stages to start now; they count as running until `finish`."""
        taken = []
        for stage in list(self._waiting.values()):
            if len(self._running) >= self.workers:
                break
            gpu_full = stage.gpu and sum(other.gpu for other in self._running.values()) >= self._gpu_slots
            if gpu_full or any(above in self._open for above in stage.upstream):
                continue
            self._running[stage.address] = self._waiting.pop(stage.address)
            taken.append(stage)
        return taken

    def finish(self, address: str) -> None:
        """Note that a stage has ended, well or not."""
        del self._running[address]
        self._open.remove(address)
