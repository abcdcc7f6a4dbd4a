"""What the service does for its chip: watches rounds of canaries, calibrates, judges the result.

States follow from `agent.watch`, and so does what to do. There is never more than one calibration.
A person's goes first: while another process holds the store, ours waits for the next round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import ArrayLike

from agent.api import Agent
from agent.drift import Drift
from agent.errors import AgentError, StoppedError, StoreError, StoreLockedError
from agent.loop import Calibration, CalibrationRequest
from agent.notices import TellNotice
from agent.service.canaries import Round
from agent.service.care import chip_note, recall, what_runs
from agent.service.chip_watch import NO_DRIFT, ChipWatch
from agent.service.job import Job
from agent.service.live import LiveLook
from agent.service.machine import THIS_MACHINE, AgentTime, Machine
from agent.service.rules import policy_of, watch_settings
from agent.service.settings import Configuration
from agent.service.surroundings import Surroundings
from agent.service.telling import Telling
from agent.store.state import State
from agent.watch.diagnosis import Diagnosis
from agent.watch.policy import CALIBRATE, ROLL_BACK, Decision, Situation, decide
from agent.watch.rounds import CanaryRound, canary_round
from agent.watch.scale import answer_scale
from agent.watch.trial import PASSED, begin_trial, judge_trial, look_at_trial
from agent.watch.wear import Written
from calib.errors import CalibError
from calib.verify import Judgement
from device_models.errors import DeviceModelError

ROLLED_BACK = Written(512, 1)
"""About what a roll-back writes: a word in a slot, and a line in the history."""

Seen = Callable[[Judgement, Drift], None]
"""Takes what a round of canaries measured, and the state that follows."""


def nobody(_measured: Judgement, _drift: Drift) -> None:
    """Nobody else wants to know."""


class Keeper:
    """Keeps a chip calibrated; called by the service's main loop.

    Args:
        agent: whose.
        configuration: when and how.
        tell: is told what happens.
        seen: is given each round.
        machine: clocks and power.
    """

    def __init__(
        self,
        agent: Agent,
        configuration: Configuration,
        tell: TellNotice,
        seen: Seen = nobody,
        machine: Machine = THIS_MACHINE,
    ) -> None:
        """Go on from what the store's history tells."""
        self._agent, self._seen = agent, seen
        self._told = Telling(agent, tell)
        self._configure(configuration)
        history = agent.session.store.read_history().entries
        known = recall(history, self._allowance, machine.clocks())
        self._time, self._care = AgentTime(known.clock, machine.clocks), known.care
        self._surroundings = Surroundings(machine.mains)
        self._job: Job | None = None
        self._before: ChipWatch | None = None
        """What was known of the chip with the factors before those on trial."""

        self._runs: dict[str, Any] = {}
        self._scale: float | None = None
        self._chip: ChipWatch
        self._installed: State
        self._begin()
        watch = self._chip.watch
        refusals = known.refusals + (0 if known.accepted else watch.refusals)
        self._chip = replace(self._chip, watch=replace(watch, refusals=refusals))

    @property
    def in_a_hurry(self) -> bool:
        """Whether rounds are wanted without a pause: a baseline or a trial is to be completed."""
        return not self._chip.is_ready or self._care.trial is not None

    def configure(self, configuration: Configuration) -> None:
        """Go on with other settings."""
        self._configure(configuration)
        self._chip = self._chip.with_settings(self._settings)

    def live(self, x: ArrayLike) -> None:
        """Take a live input that was answered."""
        if self._configuration.canaries.share:
            self._live.see(x)

    def turn(self) -> bool:
        """Look after a calibration under way; called often, takes no time.

        Returns:
            Whether other factors run than at the last turn, or on another chip.
        """
        if self._job is not None and self._job.runs:
            return False  # what changes now is its work
        before = self._runs
        self.finish()
        self._follow()
        return self._runs is not before

    def round(self, done: Round) -> None:
        """Look at a round of canaries and do what follows from it."""
        if done.sequence != self._runs["factors"]:
            return  # of factors that have gone since
        try:
            self._look(done)
        except (AgentError, CalibError, DeviceModelError) as error:
            self._told.problem("keeper", error)

    def finish(self) -> None:
        """Wait for a calibration under way; one that the agent was told to stop ends soon."""
        if self._job is not None:
            self._job.wait()
            job, self._job = self._job, None
            self._ended(job)

    def _configure(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._settings, self._policy = watch_settings(configuration), policy_of(configuration)
        self._allowance = self._policy.allowance

    def _follow(self) -> None:
        """Notice what others have changed."""
        sequence, before = self._agent.sequence, self._runs["factors"]
        if self._agent.session.installed is self._installed and sequence == before:
            return
        if what_runs(self._agent.session, sequence) == self._runs:
            self._installed = self._agent.session.installed  # another age of the same chip
            return
        if sequence > before:  # a person's calibration wears the flash, too
            now_s = self._time.now_s()
            care = self._care.wrote(self._care.cost, self._allowance, now_s)
            self._care = replace(care, last_attempt_s=now_s)
        self._begin()

    def _begin(self) -> None:
        """Watch what runs now, with the baseline that is known of it."""
        session, before = self._agent.session, self._runs
        network = session.loop.network
        self._installed = session.installed
        self._runs = runs = what_runs(session, self._agent.sequence)
        if runs["bundle"] != before.get("bundle"):
            self._scale, self._live = None, LiveLook(network)
        trial = self._care.trial
        if trial is not None and trial.sequence != runs["factors"]:
            self._care = replace(self._care, trial=None)
        chip = ChipWatch.begun(self._settings, [layer.name for layer in network.layers])
        self._chip = chip.recalled(self._known_of(runs))

    def _known_of(self, runs: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the history notes of what runs; nothing where it cannot be read."""
        try:
            return chip_note(self._agent.session.store.read_history().entries, runs)
        except StoreError as error:
            self._told.problem("store", error)
            return {}

    def _look(self, done: Round) -> None:
        seen, was_ready = self._canary_round(done.judgement), self._chip.is_ready
        compared = self._agent.drift(done.judgement) if self._chip.compares else NO_DRIFT
        self._chip = self._chip.look(seen, compared)
        if self._care.trial is not None:
            self._care = replace(self._care, trial=look_at_trial(self._care.trial, seen))
        now_s, drift = self._time.now_s(), self._chip.drift
        self._surroundings.look(self._configuration, self._agent.session, now_s)
        found = self._chip.diagnosis(self._live.inputs)
        self._told.round(done, drift, found)
        if self._time.was_set_back():
            self._told.clock()
        self._seen(done.judgement, drift)
        news = self._told.wants_note(found, now_s) and self._care.can_spare(self._allowance, now_s)
        if news or (self._chip.is_ready and not was_ready):
            self._note()
        self._act(found, now_s)

    def _canary_round(self, judgement: Judgement) -> CanaryRound:
        """By the scale of the network's answers, which are known once a round has been run."""
        if self._scale is None:
            self._scale = answer_scale(self._agent.session.loop.network)
        return canary_round(judgement, self._scale)

    def _act(self, found: Diagnosis, now_s: float) -> None:
        decision = decide(self._policy, self._situation(found, now_s))
        auto = self._configuration.calibration.auto
        starts = decision.action == CALIBRATE and auto
        self._told.decision(decision, starts=starts, auto=auto)
        if decision.action == ROLL_BACK:
            self._roll_back(decision)
            return
        trial = self._care.trial
        if trial is not None and (outcome := judge_trial(trial)).state == PASSED:
            self._care, self._before = replace(self._care, trial=None), None
            self._told.passed(outcome.reason)
        if starts:
            self._start()

    def _situation(self, found: Diagnosis, now_s: float) -> Situation:
        busy = self._job is not None
        return Situation(
            watch=self._chip.watch,
            diagnosis=found,
            budget=self._care.budget,
            now_s=now_s,
            conditions=self._surroundings.conditions(self._policy, now_s, busy=busy),
            last_attempt_s=self._care.last_attempt_s,
            calibrated=self._agent.sequence > 0 and self._chip.earlier is None,
            cost_bytes=self._care.cost.bytes,
            cost_erases=self._care.cost.erases,
            trial=self._care.trial,
        )

    def _start(self) -> None:
        chosen = self._configuration.calibration
        request = CalibrationRequest(chosen.samples, chosen.select, chosen.method)
        self._job = Job(self._agent, request, self._chip, self._runs["factors"])

    def _ended(self, job: Job) -> None:
        match job.error:
            case StoreLockedError() as error:  # a person's goes first: ours is for the next round
                self._told.waits(error)
            case StoppedError():
                pass
            case Exception() as error:
                self._told.problem("calibration", error)
                self._attempted(job.chip.refused(promising=True), Written())
            case None:
                assert job.done is not None
                self._calibrated(job, job.done)

    def _calibrated(self, job: Job, done: Calibration) -> None:
        commit = done.commit
        factors = [] if commit is None else [commit.bytes_written]
        written = Written.of([*factors, *done.noted_bytes])
        self._told.calibration(done, written)
        if commit is None:
            self._attempted(job.chip.refused(promising=done.forecast.promising), written)
            return
        before = self._canary_round(done.verdict.before)
        trial = begin_trial(commit.sequence, job.sequence, before)
        self._care, self._before = replace(self._care, trial=trial, cost=written), job.chip
        if self._agent.sequence != self._runs["factors"]:
            self._begin()
        self._attempted(self._chip, written)

    def _roll_back(self, decision: Decision) -> None:
        """End the trial of new factors, and go on with what was known before it."""
        failed = self._agent.sequence
        try:
            self._agent.rollback(trial=True)
        except StoreLockedError:
            raise  # a person's goes first: ours is for the next round
        except AgentError:
            self._care = replace(self._care, trial=None)  # it cannot be, and is not tried for ever
            raise
        self._begin()
        before, self._before = self._before or self._chip, None
        self._told.failed(decision.reason, failed)
        self._attempted(before.refused(promising=True), ROLLED_BACK)

    def _attempted(self, chip: ChipWatch, written: Written) -> None:
        """A calibration has ended, or what it made has gone again."""
        now_s = self._time.now_s()
        care = self._care.wrote(written, self._allowance, now_s)
        self._chip, self._care = chip, replace(care, last_attempt_s=now_s)
        self._note()

    def _note(self) -> None:
        """Keep what a restart has to know; a failure is told, and changes nothing."""
        fields = {
            "runs": self._runs,
            "chip": self._chip.document(),
            "care": self._care.document(),
            "clock": self._time.clock.document(),
        }
        now_s = self._time.now_s()
        size = self._told.note(self._chip.diagnosis(self._live.inputs), self._chip, fields, now_s)
        self._care = self._care.wrote(Written.of([size]), self._allowance, now_s)
