"""What a name or an alias goes on meaning here while the version that it means now is being loaded."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from ml.versions import Key, Snapshot

#: What a request may ask without a version number: a name and an alias, or a bare name (None).
Route = tuple[str, str | None]


def stand_ins(
    before: Snapshot, standing: Mapping[Route, Key], after: Snapshot, live: Collection[Key]
) -> dict[Route, Key]:
    """For each route whose version in `after` is not live: what it meant `before`, or what stood in for that.

    Only what is live and still available can stand in.
    """
    found: dict[Route, Key] = {}
    for name in after.versions:
        moved = {alias: version for alias, version in after.meanings(name).items() if version.key not in live}
        meant = before.meanings(name) if moved else {}
        for alias in moved:
            candidates = [meant[alias].key] if alias in meant else []
            if (name, alias) in standing:
                candidates.append(standing[name, alias])
            for key in candidates:
                if key in live and after.state(key) == "available":
                    found[name, alias] = key
                    break
    return found


def changed(snapshot: Snapshot, key: Key, aliases: Sequence[str] | None, *, retired: bool = False) -> Snapshot:
    """The snapshot as it will be once exactly these aliases mean a version (None: as before), or it is retired."""
    name, number = key
    versions = dict(snapshot.versions.get(name, {}))
    if number not in versions:
        return snapshot
    targets = snapshot.aliases.get(name, {})
    if retired:
        versions[number] = replace(versions[number], state="retired")
        aliases = ()
    if aliases is not None:
        targets = {alias: target for alias, target in targets.items() if target != number}
        targets |= dict.fromkeys(aliases, number)
    return Snapshot({**snapshot.versions, name: versions}, {**snapshot.aliases, name: targets})
