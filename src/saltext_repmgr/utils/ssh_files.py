"""The text of the postgres user's files for SSH. Pure."""


def authorized(text, key):
    """Return ``authorized_keys`` with a public key in it.

    key
        Type and key, as pillar has them; a comment may follow.
    """
    wanted = key.split()[:2]
    lines = text.splitlines()
    # Options may stand before the type.
    if any(_holds(line.split(), wanted) for line in lines):
        return text
    return "".join(f"{line}\n" for line in [*lines, key])


def _holds(words, wanted):
    return any(words[i : i + 2] == wanted for i in range(len(words) - 1))


def known(text, hosts, former=()):
    """Return ``known_hosts`` in which each host has its key, and a former one has none.

    hosts
        ``{host: (type, key)}``.
    former
        Names of hosts.
    """
    wanted = {host: [host, *key] for host, key in hosts.items()}
    kept, there = [], set()
    for line in text.splitlines():
        words = line.split()
        name = words[0] if words else ""
        if words == wanted.get(name):
            there.add(name)
        elif name in wanted or name in former:
            continue
        kept.append(line)
    kept += [" ".join(words) for host, words in wanted.items() if host not in there]
    return "".join(f"{line}\n" for line in kept)
