"""One run over the graph: decides whether each stage is skipped, cached or run, and stores the outcome."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from flows.graph import Graph, Stage
from flows.runner import Outcome, StageRunner
from nola_core.errors import NolaError

PUBLISH = "publish"
UNCHANGED = "No input has changed."
PUBLISHED = "Already published."


@dataclass(frozen=True)
class Result:
    """The outcome of a stage, with a message."""

    stage: Stage
    outcome: Outcome
    message: str

    @property
    def ok(self) -> bool:
        """Whether the outputs of the stage exist and are up to date."""
        return self.outcome not in (Outcome.FAILED, Outcome.SKIPPED)

    @property
    def cached(self) -> bool:
        """Whether nothing had to be computed."""
        return self.outcome in (Outcome.UNCHANGED, Outcome.RESTORED)


class Results(dict[str, Result]):
    """Results by address."""

    @property
    def failures(self) -> list[str]:
        """A message for each failed stage: `tune@digits: ...`."""
        return [f"{address}: {result.message}" for address, result in self.items() if result.outcome is Outcome.FAILED]

    def of(self, dataset: str) -> Results:
        """The results of one data set."""
        return Results({address: result for address, result in self.items() if result.stage.dataset == dataset})

    def tally(self) -> str:
        """The numbers of stages that were run, cached, failed and skipped, as text."""
        words = Counter("cached" if result.cached else result.outcome.value for result in self.values())
        return ", ".join(f"{words[word]} {word}" for word in ("run", "cached", "failed", "skipped") if words[word])


def with_publishing(graph: Graph) -> Graph:
    """Add a stage `publish@DATASET` after the last stages of each data set that is evaluated."""
    stages = dict(graph.stages)
    for dataset in graph.datasets:
        members = graph.of(dataset)
        if any(stage.name == "evaluate" for stage in members):
            address = f"{PUBLISH}@{dataset}"
            read = {above for stage in members for above in stage.upstream}
            last = tuple(stage.address for stage in members if stage.address not in read)
            stages[address] = Stage(address, PUBLISH, dataset, last, gpu=False)
    return replace(graph, stages=stages)


class Session:
    """Executes stages, each after its upstream; thread-safe.

    Args:
        graph: the stages and their freshness at the start of the run.
        runner: runs a stage through DVC.
        publish: publishes a data set and returns how many artifacts were sent; called for stages named `publish`.
        gpu_slot: returns a context to hold while a GPU stage runs; the context yields environment variables for the stage. None
            if there is no GPU.
    """

    def __init__(
        self,
        graph: Graph,
        runner: StageRunner,
        publish: Callable[[str], int],
        gpu_slot: Callable[[], AbstractContextManager[dict[str, str]]] | None,
    ) -> None:
        self._graph = graph
        self._runner = runner
        self._publish = publish
        self._gpu_slot = gpu_slot
        self.results = Results()

    def keep(self, stages: Iterable[Stage]) -> list[Result]:
        """Record stages as unchanged if they and all their upstream stages have nothing to do."""
        kept = [Result(stage, Outcome.UNCHANGED, PUBLISHED if stage.name == PUBLISH else UNCHANGED) for stage in stages]
        self.results.update({result.stage.address: result for result in kept})
        return kept

    def execute(self, address: str, on_line: Callable[[str], None]) -> Result:
        """Bring a stage up to date and pass its lines on; a failure is a result, not an exception.

        Raises:
            StoppedError: the run was cancelled.
        """
        stage = self._graph.stages[address]
        try:
            outcome, message = self._execute(stage, on_line)
        except NolaError as error:
            outcome, message = Outcome.FAILED, str(error)
        result = self.results[address] = Result(stage, outcome, message)
        return result

    def settle(self, address: str) -> None:
        """Record a stage as failed if its task ended without a result."""
        lost = Result(self._graph.stages[address], Outcome.FAILED, "The task run ended unexpectedly; see its log in Prefect.")
        self.results.setdefault(address, lost)

    def ordered(self) -> Results:
        """The results so far, in the order of the graph."""
        return Results({address: self.results[address] for address in self._graph.stages if address in self.results})

    def stop(self) -> None:
        """Stop the running stages."""
        self._runner.stop()

    def _execute(self, stage: Stage, on_line: Callable[[str], None]) -> tuple[Outcome, str]:
        above = [self.results[address] for address in stage.upstream]
        culprits = [result.stage.address for result in above if not result.ok]
        if culprits:
            return Outcome.SKIPPED, f"Not run: {', '.join(culprits)} did not complete."
        if stage.name == PUBLISH:
            sent = self._publish(stage.dataset)
            return (Outcome.RUN, f"{sent} artifacts") if sent else (Outcome.UNCHANGED, PUBLISHED)
        fresh = stage.address not in self._graph.stale
        if fresh and all(result.outcome is Outcome.UNCHANGED for result in above):
            return Outcome.UNCHANGED, UNCHANGED
        with self._gpu_slot() if stage.gpu and self._gpu_slot else nullcontext({}) as environment:
            begun = time.monotonic()
            outcome = self._runner.run(stage.address, on_line, environment)
        if outcome is Outcome.RUN:
            return outcome, f"Run in {time.monotonic() - begun:.0f} s."
        return outcome, "Outputs restored from DVC's cache." if outcome is Outcome.RESTORED else UNCHANGED
