"""Checks which parameters the function of a step or an async task takes."""

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from ..exceptions import InvalidSignature

#: The flags of functions with *args or **kwargs, and of generators.
_MORE = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR

#: The parameters that a step may take, in this order.
STEP_PARAMETERS = ("ctx", "request", "response")
#: Other frameworks' names for them.
MEANT = {"req": "request", "res": "response", "resp": "response", "context": "ctx"}
#: The parameters that an async task may take.
TASK_PARAMETERS = ("ctx",)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What a module is, a step or an async task, with the rules for its function."""

    noun: str
    parameters: tuple[str, ...]
    number_optional: bool
    example: str


STEPS = Kind(noun="step", parameters=STEP_PARAMETERS, number_optional=False, example="100_validate.py")
TASKS = Kind(noun="async task", parameters=TASK_PARAMETERS, number_optional=True, example="100_send_email.py")


def arity_of(function: Callable[..., Any], kind: Kind, where: str) -> int:
    """
    Return how many of the parameters of *kind* the *function* takes, from the left.

    Raise InvalidSignature, whose message begins with *where*, if it needs an argument that it cannot get.
    """

    if _is_plain(function, kind):
        return function.__code__.co_argcount

    def wrong(problem: str) -> InvalidSignature:
        return InvalidSignature(f"{where}{_signature(function)} {problem}; {kind.noun}s take {_allowed(kind)}")

    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise wrong("is a generator, whose body would never run")
    try:
        parameters = list(_signature_of(function).parameters.values())
    except (TypeError, ValueError):
        raise wrong("has no signature that Python can read") from None
    return _count(parameters, kind, wrong)


def _is_plain(function: Callable[..., Any], kind: Kind) -> bool:
    """Return whether *function* takes just the first parameters of *kind*, as most functions do."""
    if not isinstance(function, FunctionType) or function.__dict__ or function.__defaults__:
        return False  # a wrapper of another function has a __dict__
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    return (
        names != () and names == kind.parameters[: len(names)] and not (code.co_flags & _MORE or code.co_kwonlyargcount)
    )


def _signature_of(function: Callable[..., Any]) -> inspect.Signature:
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        # Not evaluated: an annotation may name what is imported for type checkers only
        return inspect.signature(function, annotation_format=Format.STRING)
    return inspect.signature(function)


def _count(parameters: list[inspect.Parameter], kind: Kind, wrong: Callable[[str], InvalidSignature]) -> int:
    """Return how many positional arguments to pass to a function with *parameters*."""
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    for index, parameter in enumerate(positional):
        meant = MEANT.get(parameter.name, parameter.name)
        if meant in STEP_PARAMETERS and meant not in kind.parameters:
            raise wrong(
                f"asks for {parameter.name!r}, which a task does not have: let a step store what it needs on ctx"
            )
        if meant in STEP_PARAMETERS and kind.parameters[index : index + 1] != (meant,):
            raise wrong(f"asks for {parameter.name!r} where it cannot get it")
        if meant not in STEP_PARAMETERS and parameter.default is not parameter.empty:
            raise wrong(f"has a parameter {parameter.name!r} with a default; put a * before it")
    if len(positional) > len(kind.parameters):
        raise wrong(f"takes {len(positional)} parameters")
    keyword_only = [p.name for p in parameters if p.kind == p.KEYWORD_ONLY and p.default is p.empty]
    if keyword_only:
        raise wrong(f"needs the keyword {keyword_only[0]!r}")
    if any(p.kind == p.VAR_POSITIONAL for p in parameters):
        return len(kind.parameters)
    if not positional:
        raise wrong("takes no parameter")
    return len(positional)


def _signature(function: Callable[..., Any]) -> str:
    try:
        return str(_signature_of(function))
    except (TypeError, ValueError):
        return "(...)"


def _allowed(kind: Kind) -> str:
    forms = [f"({', '.join(kind.parameters[: count + 1])})" for count in range(len(kind.parameters))]
    return " or ".join(forms)
