"""The steps of a trial in which the stack is stopped, taken down, upgraded, or has a database that is not well."""

from __future__ import annotations

import time

from tests.stack.client import Client
from tests.stack.stack import PROJECT, TAG, example
from tests.stack.steps import MODEL, ROWS, SUMS, Trial, answers, step
from tests.stack.traffic import traffic
from tests.waiting import until


def stop_in_order(trial: Trial) -> None:
    stack = trial.stack
    with step("docker stop of one api and one worker: exit code 0") as notes:
        for service in ("api", "worker"):
            container = stack.containers(service)[0]
            began = time.monotonic()
            stack.run("docker", "stop", container)
            code = stack.inspect(container, "{{.State.ExitCode}}")
            assert code == "0", f"{service} ended with {code}"
            notes.append(f"{service} after {time.monotonic() - began:.1f} s")
        stack.up()


def down_and_up(trial: Trial) -> None:
    with step("down, up: every record is there") as notes:
        before = trial.client.records()
        trial.stack.down()
        trial.stack.up()
        after = trial.client.records()
        assert after == before, f"{before} became {after}"
        answers(trial.client)
        notes.append(", ".join(f"{count:,} {resource}" for resource, (count, _) in after.items()))


def upgrade(trial: Trial) -> None:
    stack = trial.stack
    with step("every replica of api and worker replaced while requests go on") as notes:
        old = {service: set(stack.containers(service)) for service in ("api", "worker")}
        with traffic(Client(stack.possible_urls, stack.key), MODEL, ROWS, SUMS) as seen:
            stack.script(example("upgrade"))
        for service, containers in old.items():
            new = set(stack.containers(service))
            assert len(new) == len(containers)
            assert not new & containers
        assert not seen.wrong, seen.wrong[:3]
        assert not seen.refused, f"{seen.refused} requests found no replica"
        assert len(seen.results) > 0
        assert trial.client.ids("results") >= set(seen.results)
        notes.append(f"{len(seen.results) // len(ROWS):,} predictions, all answered and stored")


def own_database(trial: Trial) -> None:
    """The image alone, as one container, against a MongoDB that is there already: here the stack's."""
    stack, name = trial.stack, f"{PROJECT}-alone"
    # The directory above keeps others out; these are for the image's user, whoever runs this.
    secrets = trial.home / "almanac-secrets"
    secrets.mkdir()
    for secret in ("MONGO_URI", "ADMIN_KEY"):
        (secrets / secret).write_bytes((stack.secrets / secret).read_bytes())
        (secrets / secret).chmod(0o644)
    with step("the image alone against a MongoDB of one's own: healthy, then ended with code 0"):
        stack.script(
            example("own"),
            ("docker run", f"docker run --network {PROJECT}_database"),
            ("--name almanac", f"--name {name}"),
            ("$PWD/almanac-secrets", str(secrets)),
            ("--publish 127.0.0.1:8000:8000 almanac", f"almanac:{TAG}"),
        )
        try:
            until(lambda: stack.inspect(name, "{{.State.Health.Status}}") == "healthy", 60, f"{name} is healthy")
            stack.run("docker", "stop", name)
            assert stack.inspect(name, "{{.State.ExitCode}}") == "0"
        finally:
            stack.run("docker", "rm", "--force", name)


def sick_database(trial: Trial) -> None:
    stack = trial.stack
    with step("a mongo that is not healthy makes `up --wait` fail") as notes:
        stack.down()
        # What it looks like where somebody lost the secrets and kept the volume.
        stack.forget_secrets()
        stack.make_secrets()
        done = stack.up(check=False)
        assert done.returncode != 0
        assert "unhealthy" in done.stderr, done.stderr
        reason = stack.inspect(stack.containers("mongo")[0], "{{(index .State.Health.Log 0).Output}}")
        assert "MONGO_ROOT_PASSWORD is not the one" in reason, reason
        assert not stack.containers("api"), "api was started"
        notes.append(reason)
