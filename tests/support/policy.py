"""Policies for tests, as TOML text. The keys of the file format are written down here once."""

import json


def value(item):
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, list):
        return "[" + ", ".join(value(part) for part in item) + "]"
    return json.dumps(item)


def toml(name="test", type="task", require=None, capabilities=None, **sections):
    """A policy of `type` (its defaults) with the given keys on top: toml(resources={"memory": "64MiB"})."""
    lines = [f"name = {value(name)}", f"type = {value(type)}"]
    if require is not None:
        lines.append(f"require = {value(require)}")
    if capabilities is not None:
        lines.append(f"capabilities = {value(capabilities)}")
    for section, keys in sections.items():
        lines.append(f"\n[{section}]")
        lines.extend(f"{key} = {value(item)}" for key, item in keys.items())
    return "\n".join(lines) + "\n"
