"""Safe loader of YAML: that of libyaml if PyYAML has it. It is ten times as fast as the one in Python."""

from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING or not yaml.__with_libyaml__:
    from yaml import SafeLoader
else:
    from yaml import CSafeLoader as SafeLoader

__all__ = ["SafeLoader"]
