"""Checkpoints as PyTorch itself writes them, and what they hold as safetensors. Run with the versions of requirements.txt:
python tests/golden/make_torch_file.py"""

import argparse
import collections
import pathlib

import numpy
import safetensors.torch
import torch

OUT = pathlib.Path(__file__).parent / "torch_file"
OUT.mkdir(exist_ok=True)
torch.manual_seed(0)


def save(name, value, **options):
    torch.save(value, OUT / name, **options)


def expect(name, tensors):
    safetensors.torch.save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, OUT / name)


# Every type, views of one storage, steps, an empty tensor, a scalar, a parameter, an expanded tensor.
base = torch.randn(6, 5)
kinds = collections.OrderedDict(
    float=base,
    transposed=base.t(),
    row=base[2],
    steps=base[1:6:2, ::2],
    half=base.half(),
    bfloat=base.bfloat16(),
    double=base.double(),
    long=torch.tensor([[1, -2], [3, 2**40]]),
    int=torch.tensor([1, -2], dtype=torch.int32),
    short=torch.tensor([1, -2], dtype=torch.int16),
    char=torch.tensor([1, -2], dtype=torch.int8),
    byte=torch.tensor([1, 254], dtype=torch.uint8),
    bool=torch.tensor([True, False, True]),
    scalar=torch.tensor(3.5),
    empty=torch.zeros(0, 4),
    parameter=torch.nn.Parameter(torch.randn(3, 2)),
    expanded=torch.tensor([1.5, 2.5]).expand(3, 2),
    uint16=torch.tensor([1, 65535], dtype=torch.uint16),
)
save("kinds.pth", kinds)
expect("kinds.safetensors", kinds)
save("kinds-protocol4.pth", kinds, pickle_protocol=4)

# A training checkpoint: module, optimiser, settings, random state, log.
net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.BatchNorm2d(2))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
net(torch.randn(2, 3, 5, 5)).sum().backward()
optimizer.step()
training = {
    "epoch": 12,
    "arch": "resnet50",
    "best": 0.25,
    "state_dict": net.state_dict(),
    "optimizer": optimizer.state_dict(),
    "args": argparse.Namespace(lr=0.1, workers=4, out=pathlib.PurePosixPath("x")),
    "numpy": {"state": numpy.arange(4), "loss": numpy.float64(0.5)},
    "set": {1, 2},
    "shape": torch.Size([2, 3]),
    "device": torch.device("cpu"),
}
save("training.pth", training)
expect("training.safetensors", net.state_dict())

save("before-1.6.pth", {"a": torch.ones(2)}, _use_new_zipfile_serialization=False)
