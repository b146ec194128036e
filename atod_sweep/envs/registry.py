"""Environments: the registry. Families are imported when one is made."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from atod_sweep.errors import UserError, in_a_line, meant

if TYPE_CHECKING:
    import gymnasium

    from atod_sweep.config.train import Env

FAMILIES = {
    "code_debug": "atod_sweep.envs.families.code_debug:CodeDebug",
    "planner": "atod_sweep.envs.families.planner:Planner",
    "support_desk": "atod_sweep.envs.families.support_desk:SupportDesk",
    "tool_use": "atod_sweep.envs.families.tool_use:ToolUse",
    "alfworld": "atod_sweep.envs.benchmarks.alfworld:AlfWorld",
    "webshop": "atod_sweep.envs.benchmarks.webshop:WebShop",
    "textworld": "atod_sweep.envs.benchmarks.textworld:TextWorld",
}


def names() -> list[str]:
    return sorted(FAMILIES)


def is_shipped(env_id: str) -> bool:
    """Whether the environment is one of the package's own, and not somebody's code or a Gymnasium id."""
    return env_id in FAMILIES


def metric_names(env_id: str, kwargs: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """What a shipped environment with these arguments reports beside success.

    Raises UserError if it needs what is not here.
    """
    family = constructor(env_id)
    further = [names for option, names in family.option_metrics.items() if (kwargs or {}).get(option)]
    return (*family.metric_names, *(name for names in further for name in names))


def make(config: Env) -> gymnasium.Env[str, str]:
    """The environment that `config` names, as it is: `checked` is the one to play with.

    Episodes are cut off after `horizon` turns. Optional methods (see `contract`) are found on `.unwrapped`. Raises
    UserError for an unknown id or an argument that the constructor does not take.
    """
    import gymnasium

    env, limit = build(config)
    limited: gymnasium.Env[str, str] = env if limit is None else gymnasium.wrappers.TimeLimit(env, limit)
    return limited


def build(config: Env) -> tuple[Any, int | None]:
    """A shipped family, `package.module:Class` or a registered Gymnasium id, and a limit on turns that is left to do.

    `horizon` is passed to the constructor if it takes one; there is no such limit then.
    """
    import gymnasium

    constructed = constructor(config.id)
    parameters = inspect.signature(constructed).parameters
    _check_arguments(config, parameters)
    takes_horizon = "horizon" in parameters
    kwargs = config.kwargs | {"horizon": config.horizon} if takes_horizon else config.kwargs
    limit = None if takes_horizon else config.horizon
    if _names_a_class(config.id):
        return constructed(**kwargs), limit
    # -1: without a TimeLimit, which takes answers apart unread
    return gymnasium.make(config.id, max_episode_steps=-1, disable_env_checker=True, **kwargs), limit


def usual_horizon(env_id: str) -> int:
    """The horizon that the constructor takes by default; the config's own default if it names none."""
    from atod_sweep.config.train import Env

    parameter = inspect.signature(constructor(env_id)).parameters.get("horizon")
    known = parameter is not None and isinstance(parameter.default, int)
    return parameter.default if parameter is not None and known else Env().horizon


def card(env_id: str) -> str:
    """What the environment tells about itself, in Markdown. Raises UserError if it does not."""
    from atod_sweep.config.train import Env

    game = make(Env(id=env_id, horizon=usual_horizon(env_id)))
    try:
        if not hasattr(game.unwrapped, "card"):
            raise UserError(f"{env_id}: has no card(); add that method, or read its source")
        return str(game.unwrapped.card())
    finally:
        game.close()


def constructor(env_id: str) -> Any:
    """The class or function that builds the environment of this id. Raises UserError if there is none."""
    if not _names_a_class(env_id):
        return _entry_point(env_id)
    module_name, _, name = FAMILIES.get(env_id, env_id).partition(":")
    return _attribute(env_id, module_name, name)


def source(env_id: str) -> str:
    """The text of the module that a user's environment is defined in; "" for shipped ones, and where there is none."""
    if is_shipped(env_id):
        return ""
    try:
        return inspect.getsource(inspect.getmodule(constructor(env_id)) or constructor(env_id))
    except (OSError, TypeError):  # defined at a prompt, or compiled
        return ""


def _names_a_class(env_id: str) -> bool:
    """Whether the id is a shipped family or `module:Class`. Gymnasium's ids may hold a colon too, but no plain name."""
    _, colon, name = FAMILIES.get(env_id, env_id).partition(":")
    return bool(colon) and name.isidentifier()


def _check_arguments(config: Env, parameters: Mapping[str, inspect.Parameter]) -> None:
    if "horizon" in config.kwargs:
        raise UserError(f"env.kwargs.horizon: set env.horizon instead, got {config.kwargs['horizon']!r} here")
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for key in config.kwargs:
        if key not in parameters:
            hint = meant(key, parameters, f"it takes: {', '.join(parameters) or 'nothing'}")
            raise UserError(f"env.kwargs: {config.id} takes no argument {key!r}; {hint}")


def _entry_point(env_id: str) -> Any:
    """The constructor behind a Gymnasium id; `module:Name-v0` imports the module first, as Gymnasium does."""
    import gymnasium

    module_name, _, name = env_id.rpartition(":")
    if module_name:
        _module(env_id, module_name)
    try:
        entry_point = gymnasium.spec(name).entry_point
    except gymnasium.error.Error:
        hint = meant(env_id, names(), f"shipped: {', '.join(names())}", cutoff=0.5)
        raise UserError(
            f"env.id: unknown environment {env_id!r}; {hint} (or package.module:Class, or a registered Gymnasium id)"
        ) from None
    return _attribute(env_id, *entry_point.split(":", 1)) if isinstance(entry_point, str) else entry_point


def _attribute(env_id: str, module_name: str, name: str) -> Any:
    module = _module(env_id, module_name)
    if not hasattr(module, name):
        hint, place = meant(name, vars(module)), getattr(module, "__file__", None) or "built in"
        raise UserError(f"env.id: {env_id!r}: module {module_name!r} has no {name!r} ({place}){hint and f'; {hint}'}")
    return getattr(module, name)


def _module(env_id: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(f"env.id: {env_id!r} needs the module {error.name!r}, which is not installed here") from None
    except (Exception, SystemExit) as error:  # a user's module
        raise UserError(f"env.id: {env_id!r}: importing {name!r} raised {in_a_line(error)}") from error
