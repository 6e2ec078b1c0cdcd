"""The operators in PyTorch: values against formulas written here, gradients, torch.compile, CUDA where there is one, and the
Python of docs/operators.md as it stands. Needs PyTorch 2.11, without which it ends with 77, and for a part of that page lightly
(tests/golden/requirements.txt).

    python torch_ops/check.py build/lib/libgenview_torch.so
"""
import importlib.util
import pathlib
import re
import sys

try:
    import torch
    import torch.nn.functional as F
except (ImportError, OSError) as error:
    print(f"skipped: {error}")
    sys.exit(77)
if not torch.__version__.startswith("2.11."):
    print(f"skipped: PyTorch {torch.__version__} is here, the operators are built for 2.11")
    sys.exit(77)

library = pathlib.Path(sys.argv[1]).resolve()
torch.ops.load_library(str(library))
ops = torch.ops.genview
torch.manual_seed(0)


def info_nce(q, k, queue, t):
    q, k = F.normalize(q), F.normalize(k)
    logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue], 1) / t
    return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long), reduction="none")


def nt_xent(a, b, t):
    z = F.normalize(torch.cat([a, b]))
    logits = (z @ z.T / t).masked_fill(torch.eye(len(z), dtype=torch.bool), float("-inf"))
    n = len(a)
    both = F.cross_entropy(logits, torch.arange(2 * n).roll(n), reduction="none")
    return (both[:n] + both[n:]) / 2


def sinkhorn(scores, epsilon, iterations):
    q = (scores / epsilon).exp().T
    q /= q.sum()
    for _ in range(iterations):
        q /= q.sum(1, keepdim=True) * len(q)
        q /= q.sum(0, keepdim=True) * q.shape[1]
    return (q * q.shape[1]).T


def swapped(a, b, t, epsilon, iterations):
    with torch.no_grad():
        qa, qb = sinkhorn(a, epsilon, iterations), sinkhorn(b, epsilon, iterations)
    return -0.5 * ((qa * F.log_softmax(b / t, 1)).sum(1) + (qb * F.log_softmax(a / t, 1)).sum(1))


def moco_v3(q1, q2, k1, k2, t):
    def one(q, k):
        return F.cross_entropy(F.normalize(q) @ F.normalize(k).T / t, torch.arange(len(q)), reduction="none")
    return 2 * t * (one(q1, k2) + one(q2, k1))


def foreground_map(x, v):
    s = torch.einsum("nchw,c->nhw", x, v)
    low, high = s.amin((1, 2), keepdim=True), s.amax((1, 2), keepdim=True)
    return (s - low) / (high - low + 1e-7)


def pair_quality(a, b, v, gamma):
    def parts(x):
        f = foreground_map(x, v)
        return [torch.einsum("nchw,nhw->nc", x, m / (m.sum((1, 2), keepdim=True) + 1e-7)) for m in (f, 1 - f)]
    (fa, ba), (fb, bb) = parts(a), parts(b)
    return len(a) * torch.softmax(gamma * (F.cosine_similarity(fa, fb) - F.cosine_similarity(ba, bb)), 0)


def rows(n=6, d=8):
    return torch.randn(n, d, dtype=torch.double, requires_grad=True)


queue = F.normalize(torch.randn(8, 16, dtype=torch.double), dim=0)
maps = [torch.randn(4, 5, 3, 3, dtype=torch.double, requires_grad=True) for _ in range(2)]
v = F.normalize(torch.randn(5, dtype=torch.double), dim=0).requires_grad_()
cases = {
    "info_nce": (info_nce, [rows(), rows(), queue, 0.2]),
    "nt_xent": (nt_xent, [rows(), rows(), 0.5]),
    "negative_cosine": (lambda p, z: -F.cosine_similarity(p, z), [rows(), rows()]),
    "swapped_prediction": (swapped, [rows(), rows(), 0.1, 0.05, 3]),
    "moco_v3": (moco_v3, [rows(), rows(), rows(), rows(), 0.2]),
    "foreground_map": (foreground_map, [maps[0], v]),
    "pair_quality": (pair_quality, [*maps, v, 1.0]),
}
for name, (formula, inputs) in cases.items():
    op = getattr(ops, name)
    torch.testing.assert_close(op(*inputs).double(), formula(*inputs), rtol=1e-5, atol=1e-6)
    if name == "pair_quality":
        assert not op(*inputs).requires_grad
    elif name != "swapped_prediction":  # its assignments are constants to autograd and not to finite differences
        assert torch.autograd.gradcheck(op, inputs), name
    else:
        tensors = [x for x in inputs if isinstance(x, torch.Tensor)]
        for ours, theirs in zip(torch.autograd.grad(op(*inputs).sum(), tensors), torch.autograd.grad(formula(*inputs).sum(), tensors)):
            torch.testing.assert_close(ours, theirs)

    tensors = [x for x in inputs if isinstance(x, torch.Tensor) and x.requires_grad]

    def step(*values):
        return (op(*values) * torch.arange(1, 1 + values[0].shape[0]).reshape([-1] + [1] * (op(*values).dim() - 1))).sum() + 0 * values[0].sum()

    for dynamic in (False, True):
        torch._dynamo.reset()
        compiled = torch.compile(step, fullgraph=True, backend="aot_eager", dynamic=dynamic)
        torch.testing.assert_close(compiled(*inputs), step(*inputs))
        for ours, theirs in zip(torch.autograd.grad(compiled(*inputs), tensors, allow_unused=True),
                                torch.autograd.grad(step(*inputs), tensors, allow_unused=True)):
            assert (ours is None) == (theirs is None)
            if ours is not None:
                torch.testing.assert_close(ours, theirs)
    meta = [x.to("meta") if isinstance(x, torch.Tensor) else x for x in inputs]
    assert op(*meta).shape == op(*inputs).shape
    if torch.cuda.is_available():
        cuda = [x.detach().cuda() if isinstance(x, torch.Tensor) else x for x in inputs]
        torch.testing.assert_close(op(*cuda).cpu(), op(*inputs).detach(), rtol=1e-5, atol=1e-6)
    print(name, "values, gradients, compile, meta" + (", CUDA" if torch.cuda.is_available() else ""))

page = (pathlib.Path(__file__).parent.parent / "docs" / "operators.md").read_text()
for i, block in enumerate(re.findall(r"```python\n(.*?)```", page, re.S)):
    if "lightly" in block and not importlib.util.find_spec("lightly"):
        print(f"docs/operators.md, block {i + 1}: skipped, lightly is not installed")
        continue
    exec(compile(block.replace("build/lib/libgenview_torch.so", str(library)), f"docs/operators.md, block {i + 1}", "exec"), {})
    print(f"docs/operators.md, block {i + 1}: runs")
