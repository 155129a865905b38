"""Which stage may start now: bounded workers, bounded GPU stages, first data set first."""

from __future__ import annotations

from collections.abc import Iterable

from flows.graph import Stage


class Schedule:
    """Returns stages whose upstream is finished, so that no stage occupies a worker while it waits.

    Data sets come in the given order and stages in the order of `stages`, which must be topological. At most `gpu_slots` stages
    of `gpu` run at a time; the remaining workers run other stages.
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
        """Record that a stage has ended, with or without success."""
        del self._running[address]
        self._open.remove(address)
