"""Objects as YAML: as `kubectl get -o yaml` prints them, and in other forms that mean the same."""

import json
import re

PLAIN = re.compile(r"[A-Za-z./_][A-Za-z0-9./_-]*$")
# Words and numbers that some YAML reader takes for something else than a text.
SPECIAL = re.compile(r"(y|n|yes|no|on|off|true|false|null|~|\.inf|\.nan|[0-9.+-][0-9.eE+_:-]*|0x[0-9a-f]+)$", re.I)


def scalar(value, random):
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if PLAIN.match(value) and not SPECIAL.match(value) and random.random() < 0.9:
        return value
    if random.random() < 0.5 and "\n" not in value:
        return "'" + value.replace("'", "''") + "'"
    return json.dumps(value)


def flow(value, random):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(k, random)}: {flow(v, random)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(item, random) for item in value) + "]"
    return scalar(value, random)


def block(value, random, indent, flow_share):
    """Lines of a mapping or list that is not empty. Lists are not indented below their key, as kubectl has it."""
    pad = "  " * indent
    if isinstance(value, list):
        for item in value:
            if isinstance(item, (dict, list)) and item and random.random() >= flow_share:
                lines = list(block(item, random, indent + 1, flow_share))
                yield pad + "- " + lines[0][len(pad) + 2:]
                yield from lines[1:]
            else:
                yield pad + "- " + flow(item, random)
        return
    for key, item in value.items():
        if isinstance(item, (dict, list)) and item and random.random() >= flow_share:
            yield f"{pad}{scalar(key, random)}:"
            yield from block(item, random, indent + (0 if isinstance(item, list) else 1), flow_share)
        else:
            yield f"{pad}{scalar(key, random)}: {flow(item, random)}"


def document(value, random):
    if random.random() < 0.1:
        return json.dumps(value, indent=random.choice([None, 1, 4])) + "\n"
    return "\n".join(block(value, random, 0, random.choice([0, 0, 0.1, 0.5]))) + "\n"


def as_served(thing, random):
    """With what an API server and kubectl add."""
    served = json.loads(json.dumps(thing))
    metadata = served["metadata"]
    if random.random() < 0.5:
        annotations = metadata.setdefault("annotations", {})
        annotations["kubectl.kubernetes.io/last-applied-configuration"] = json.dumps(thing) + "\n"
    metadata["creationTimestamp"] = random.choice([None, "2026-01-02T03:04:05Z"])
    metadata["generation"] = random.randint(1, 9)
    metadata["resourceVersion"] = str(random.randint(1, 99999))
    metadata.setdefault("uid", f"00000000-0000-4000-8000-{random.randint(0, 10**12 - 1):012d}")
    if random.random() < 0.3:
        managed = {"f:metadata": {"f:labels": {".": {}, "f:app": {}}}, "f:spec": {"f:podSelector": {}}}
        metadata["managedFields"] = [
            {
                "apiVersion": served["apiVersion"], "fieldsType": "FieldsV1", "fieldsV1": managed, "manager": "kubectl-client-side-apply",
                "operation": "Update", "time": "2026-01-02T03:04:05Z",
            }
        ]
    if random.random() < 0.3 and "status" not in served:
        conditions = [{"lastTransitionTime": None, "message": "fine: really", "reason": "Ok", "status": "True", "type": "Accepted"}]
        served["status"] = random.choice([{}, {"conditions": conditions}])
    for name in ("metadata", "spec", "status"):
        if isinstance(served.get(name), dict):
            served[name] = dict(sorted(served[name].items()))
    return dict(sorted(served.items()))


def text_of(objects, random):
    """One file: a list, or documents, or both."""
    objects = [as_served(thing, random) if random.random() < 0.6 else thing for thing in objects]
    cut = random.choice([0, len(objects), random.randint(0, len(objects))])
    texts = [document(thing, random) for thing in objects[:cut]]
    if objects[cut:] or random.random() < 0.2:
        metadata = random.choice([{"resourceVersion": ""}, {"resourceVersion": "", "selfLink": ""}])
        texts.append(document({"apiVersion": "v1", "items": objects[cut:], "kind": "List", "metadata": metadata}, random))
    if random.random() < 0.2:
        texts.insert(random.randint(0, len(texts)), "# nothing here\n")
    head = random.choice(["", "---\n", "# a comment\n---\n"])
    return head + "---\n".join(texts) + random.choice(["", "---\n", "...\n"])
