"""What the nodes look like, as data: `python tests/support/describe_nodes.py`.

It writes locales/en, which translations are held against, and tests/data/signatures.json, which saved workflows rely
on. Run it after a change of a node; a change which breaks workflows is refused here, and by tests/nodes/test_schema.py
where the file was changed by hand.
"""

from __future__ import annotations

import json
import sys

import pack
from paths import DATA

SIGNATURES = DATA / "signatures.json"
LOCALES = pack.ROOT / "locales"
OPEN_LISTS = {("ViTMatteModelLoader", "model_name")}  # what stands in them is on the user's disk


def schemas() -> list:
    """The nodes' schemas."""
    return [node.GET_SCHEMA() for node in pack.load()[1]]


def signature(schema) -> dict:
    """What a saved workflow or prompt relies on: ids, types, order, options, limits, defaults."""
    inputs = []
    for port in schema.inputs:
        entry = {"id": port.id, "type": port.io_type, "optional": bool(port.optional)}
        for name in ("default", "min", "max", "options"):
            value = getattr(port, name, None)
            if value is not None and not (name == "options" and (schema.node_id, port.id) in OPEN_LISTS):
                entry[name] = value
        inputs.append(entry)
    outputs = [{"id": port.id, "type": port.io_type} for port in schema.outputs]
    return {"inputs": inputs, "outputs": outputs}


def breaks(old: dict, new: dict) -> list[str]:
    """Why workflows saved with the old signature would no longer run, or no longer give the same, with the new one."""
    found = []
    for kind in ("inputs", "outputs"):
        names = [[port["id"] for port in side[kind]] for side in (old, new)]
        if names[1][:len(names[0])] != names[0]:
            found.append(f"{kind} were {names[0]} and are {names[1]}: add at the end only, as widgets go by place")
    after = {port["id"]: port for port in new["inputs"]}
    for port in old["inputs"]:
        now = after.get(port["id"], port)
        if now["type"] != port["type"] or now.get("default") != port.get("default"):
            found.append(f"{port['id']}: type or default changed")
        if port["optional"] and not now["optional"]:
            found.append(f"{port['id']} was optional")
        if set(port.get("options", ())) - set(now.get("options", port.get("options", ()))):
            found.append(f"{port['id']} lost an option")
        if "min" in port and not now["min"] <= port["min"] <= port["max"] <= now["max"]:
            found.append(f"{port['id']} has narrower limits")
    known = {port["id"] for port in old["inputs"]}
    found += [f"{port['id']} is new and not optional" for port in new["inputs"]
              if port["id"] not in known and not port["optional"]]
    if [port["type"] for port in new["outputs"]][:len(old["outputs"])] != [port["type"] for port in old["outputs"]]:
        found.append("an output changed its type")
    return found


def texts(schema) -> dict:
    """All that a user reads on a node, in the form of a translation."""
    inputs = {}
    for port in schema.inputs:
        inputs[port.id] = {"name": port.display_name or port.id, "tooltip": port.tooltip}
        options = getattr(port, "options", None)
        if options is not None and (schema.node_id, port.id) not in OPEN_LISTS:
            inputs[port.id]["options"] = {option: option for option in options}
    outputs = {str(i): {"name": port.display_name, "tooltip": port.tooltip} for i, port in enumerate(schema.outputs)}
    return {"display_name": schema.display_name, "description": schema.description, "inputs": inputs,
            "outputs": outputs}


def main() -> None:
    known = json.loads(SIGNATURES.read_text(encoding="utf-8")) if SIGNATURES.exists() else {}
    now = {schema.node_id: signature(schema) for schema in schemas()}
    problems = [f"{name}: {text}" for name in known for text in breaks(known[name], now.get(name, known[name]))]
    problems += [f"{name} is gone" for name in known if name not in now]
    if problems:
        sys.exit("workflows would break:\n" + "\n".join(problems))
    SIGNATURES.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
    english = {schema.node_id: texts(schema) for schema in schemas()}
    (LOCALES / "en").mkdir(parents=True, exist_ok=True)
    (LOCALES / "en" / "nodeDefs.json").write_text(json.dumps(english, indent=2, ensure_ascii=False) + "\n",
                                                  encoding="utf-8")


if __name__ == "__main__":
    main()
