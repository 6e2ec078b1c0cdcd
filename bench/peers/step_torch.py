"""One MoCo v2 step (query forward and backward, key forward, queue, SGD) in eager PyTorch, with lightly's or a plain loss.

usage: step_torch.py LOSS(torch|lightly) BACKBONE SIZE BATCH PRECISION(fp32|bf16) SECONDS [eager|compile]

BACKBONE is torchvision's resnet18 or resnet50, or timm's vit-small with patches of 4 px.
"""
import copy
import sys

import torch
import torchvision

from common import THREADS, timed_loop

loss_name, backbone, size, batch, precision, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5], float(sys.argv[6])
compiled = sys.argv[7:] == ["compile"]
torch.set_num_threads(THREADS)
torch.manual_seed(0)


def head(width):
    return torch.nn.Sequential(torch.nn.Linear(width, width), torch.nn.ReLU(), torch.nn.Linear(width, 128))


def encoder():
    if backbone == "vit-small":
        import timm
        net = timm.create_model("vit_small_patch16_224", img_size=size, patch_size=4, num_classes=0)
        net.head = head(net.num_features)
        return net.to(memory_format=torch.channels_last)
    net = getattr(torchvision.models, backbone)(weights=None)
    width = net.fc.in_features
    if size <= 64:  # the CIFAR stem
        net.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        net.maxpool = torch.nn.Identity()
    net.fc = head(width)
    return net.to(memory_format=torch.channels_last)


query, key = encoder(), encoder()
key.load_state_dict(copy.deepcopy(query.state_dict()))
for parameter in key.parameters():
    parameter.requires_grad_(False)
forward, forward_key = (torch.compile(net) if compiled else net for net in (query, key))
optimizer = torch.optim.SGD(query.parameters(), lr=0.03, momentum=0.9, weight_decay=1e-4)
queue = torch.nn.functional.normalize(torch.randn(128, 65536 if size > 64 else 4096), dim=0)
pointer = 0
views = [torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last) for _ in range(2)]
if loss_name == "lightly":
    from lightly.loss import NTXentLoss
    criterion = NTXentLoss(temperature=0.2, memory_bank_size=(queue.shape[1], 128))


def step():
    global pointer
    with torch.no_grad():
        for slow, fast in zip(key.parameters(), query.parameters()):
            slow.mul_(0.999).add_(fast.detach(), alpha=0.001)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        q = forward(views[0])
        with torch.no_grad():
            k = forward_key(views[1])
    q, k = q.float(), k.float()
    if loss_name == "lightly":
        loss = criterion(q, k)
    else:
        q, k = torch.nn.functional.normalize(q, dim=1), torch.nn.functional.normalize(k, dim=1)
        logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue], 1) / 0.2
        loss = torch.nn.functional.cross_entropy(logits, torch.zeros(batch, dtype=torch.long))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    if loss_name != "lightly":  # lightly keeps its own queue; the backward pass needs the old one
        queue[:, pointer:pointer + batch] = k.T
        pointer = (pointer + batch) % queue.shape[1]


timed_loop(step, seconds, batch)
