"""Every parameter of a public function has a type, and every function says what it returns."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Layers and losses take whatever Keras passes to them: arrays, tensors, symbolic tensors.
LEFT_OUT = ("zoo/models/", "zoo/objectives/", "zoo/hub/models.py")


def files():
    for package in ("zoo", "strategies", "compression"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(LEFT_OUT):
                yield name


def functions(body, public=True):
    """Yield every function of a module or of a class that no other function contains, and whether it is public."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, public and (node.name == "__init__" or not node.name.startswith("_"))
        elif isinstance(node, ast.ClassDef):
            yield from functions(node.body, public and not node.name.startswith("_"))


def without_type(function):
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    packed = [each for each in (arguments.vararg, arguments.kwarg) if each is not None]
    return [each.arg for each in (*named, *packed) if each.annotation is None and each.arg not in ("self", "cls")]


def test_public_parameters_and_all_returns_have_types():
    missing = []
    for name in files():
        for function, public in functions(ast.parse((ROOT / name).read_text(encoding="utf-8")).body):
            where = f"{name}:{function.lineno} {function.name}"
            if public:
                missing += [f"{where}: parameter {parameter}" for parameter in without_type(function)]
            if function.returns is None and function.name != "__init__":
                missing.append(f"{where}: return")
    assert not missing, "\n".join(missing)


def test_what_lacks_a_type_is_found():
    code = "class A:\n  def f(self, x, *, y: int, **z): ...\n  def _g(self, x): ...\n"
    found = {function.name: (public, without_type(function)) for function, public in functions(ast.parse(code).body)}
    assert found == {"f": (True, ["x", "z"]), "_g": (False, ["x"])}
