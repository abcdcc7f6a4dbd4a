"""The watch over a chip: what canaries say, whether that is drift, and what to do about it.

Everything here is a pure function of frozen values: no clock, no file, no chip. Who runs the chip
(the service, the simulation of a life) hands in what was measured and keeps what comes back.

    watching    begin(WatchSettings(), layer_names) after every accepted calibration or install;
                look(watch, rounds.canary_round(judgement, scale.answer_scale(network))) after
                every round of canaries (the scale is computed once);
                refused(watch, promising=...) after a calibration that was refused; then
                watch.state (unknown healthy watch drifted failed), watch.alarms, watch.score,
                explain(watch): one sentence
    inputs      begin_live(profile_of(blocks of reference inputs)); look_at_inputs(live, samples)
                with any number of live inputs; live.moved, live.most_moved
    diagnosis   diagnose(watch, live): nothing, chip, input or both, and a sentence
    policy      decide(Policy(), Situation(...)): calibrate, wait or roll back, and why
    budget      full(allowance, now_s) for a new store; refilled, spent after each write
    trial       begin_trial(sequence, previous, round before) once new factors are active;
                look_at_trial(trial, round); judge_trial(trial): running, passed or failed
    live_samples    offered(kept, [live_sample(...)], LiveRules(), now_s): the live inputs that are
                worth their bytes; calib.extended_references.with_live(network, inputs_of(kept,
                shape)) lets a calibration follow and judge by them, Situation(live_loss=...) says
                when that pays
    clock       advance(clock, Reading(monotonic_s, wall_s, boot)).agent_s: never runs backwards;
                budgets, intervals and `now_s` are counted in it

While factors are on trial keep the watch of before: after a roll-back go on with it, `refused`,
because a watch that begins anew would take the drifted chip for normal. Watch, LiveInputs,
FlashBudget, Trial and AgentClock have `document()`, which JSON holds, and `of`, its inverse, so
that a restart forgets nothing; what is damaged begins anew.
"""
