"""What does an event delivered over https cost, compared to a bare loop of posts over https?

As in ``throughput``, on asyncio: the same bare loop, the same events, 32 in flight, and a sink
that speaks TLS. Connections stay open, so that no handshake is measured. The certificate is made
for the run by ``openssl``; both contenders verify it, with the default context.
"""

from __future__ import annotations

from dataclasses import asdict
from statistics import median
from typing import Final

from benchmarks.bare import IN_FLIGHT, ratios
from benchmarks.estimates import quartiles
from benchmarks.harness import main
from benchmarks.one_webhook import Plan, Rounds, play
from benchmarks.processes import in_fresh_process, run_loop
from benchmarks.result import Result, Table, text_of_pair
from benchmarks.target import Target
from benchmarks.tls import can_certify, trusted_certificate

_LIMIT: Final = 0.6

_FULL: Final = Plan(events=1000, rounds=45, flood=20_000)
_QUICK: Final = Plan(events=64, rounds=1, flood=1_000)


def measure(plan: Plan, certificate: str) -> Rounds:
    """The rounds; call it in a process that trusts the certificate from its start."""
    return run_loop(play(plan, certificate))


def run(quick: bool) -> Result:
    """Measure and put into tables."""
    if not can_certify():
        return Result([], [], skipped=["https: no openssl here that could make a certificate"])
    with trusted_certificate() as certificate:
        run = in_fresh_process(measure, _QUICK if quick else _FULL, certificate)
    cheaper = ratios(run.hooks.cpu, run.bare.cpu)
    spare = run.spare(run.bare, run.hooks)
    columns = ("", "delivered/s", "CPU µs", "hooks / bare", "quartiles", "sink to spare")
    rows: list[list[str | float]] = [
        ["bare loop", run.per_second(run.bare), run.cpu(run.bare), "", "", ""],
        [
            "hooks",
            run.per_second(run.hooks),
            run.cpu(run.hooks),
            median(cheaper),
            text_of_pair(quartiles(cheaper)),
            f"{spare:.1f} times",
        ],
    ]
    rounds = len(run.bare.seconds)
    title = f"Over https, {IN_FLIGHT} in flight, medians of {rounds} rounds"
    return Result(
        tables=[Table(title, columns, rows)],
        targets=[
            Target.of_ratios(
                f"CPU per event over https, one webhook, {IN_FLIGHT} in flight",
                cheaper,
                _LIMIT,
                contender="bare loop over https",
                spare=spare,
            )
        ],
        figures=asdict(run),
    )


if __name__ == "__main__":
    main("https", __doc__, run)
