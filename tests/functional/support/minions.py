"""The loaders of a minion, with its pillar in files, and no daemon."""

import importlib.metadata

import salt.config
import yaml
from saltfactories.utils.functional import Loaders

PACKAGE = "saltext_repmgr"


def require_entry_point():
    """Fail where Salt would not find the extension by itself."""
    found = [
        point.value
        for point in importlib.metadata.entry_points(group="salt.loader")
        if point.value == PACKAGE
    ]
    assert found, (
        "Salt finds extensions by the entry points of installed packages, and there is none for"
        f" {PACKAGE}: run 'pip install --no-deps -e .'"
    )


def options(root, minion_id, pillar):
    """Return the configuration of a minion whose files are all below ``root``."""
    files = root / "pillar"
    files.mkdir(parents=True)
    (files / "top.sls").write_text("base:\n  '*':\n    - node\n", encoding="utf-8")
    (files / "node.sls").write_text(yaml.safe_dump(pillar), encoding="utf-8")
    config = root / "minion"
    settings = {
        "root_dir": str(root),
        "file_client": "local",
        "file_roots": {"base": []},
        "pillar_roots": {"base": [str(files)]},
        # They cost time and nobody asks for them here.
        "enable_fqdns_grains": False,
        "enable_gpu_grains": False,
    }
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return salt.config.minion_config(str(config), minion_id=minion_id)


class Minion:
    """What runs on a minion: ``modules`` and ``states`` as Salt's loader has them."""

    def __init__(self, root, minion_id, pillar):
        require_entry_point()
        self.loaders = Loaders(options(root, minion_id, pillar))
        self.modules = self.loaders.modules
        self.states = self.loaders.states

    @property
    def pillar(self):
        """The ``__pillar__`` that the modules see; tests may change it for a while."""
        return self.modules.pack["__pillar__"]
