"""Optimiser trajectories and learning-rate tables of PyTorch: tests/golden/train/."""
import pathlib

import torch
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).parent / "train"
SHAPES = {"conv.weight": (4, 3, 3, 3), "fc.weight": (5, 4), "fc.bias": (5,)}
STEPS = 5


def start(seed):
    generator = torch.Generator().manual_seed(seed)
    weights = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    gradients = {name: [torch.randn(shape, generator=generator) for _ in range(STEPS)] for name, shape in SHAPES.items()}
    return weights, gradients


def run(make, name, tensors, seed=0, late=None):
    """make(parameters by name) -> optimiser; the rate of step i is 0.1 / (i + 1). `late` has its first gradient at step 3."""
    weights, gradients = start(seed)
    parameters = {key: torch.nn.Parameter(value.clone()) for key, value in weights.items()}
    optimiser = make(parameters)
    factors = [group["lr"] / 0.1 for group in optimiser.param_groups]
    for step in range(STEPS):
        for group, factor in zip(optimiser.param_groups, factors):
            group["lr"] = 0.1 / (step + 1) * factor
        for key, parameter in parameters.items():
            parameter.grad = None if key == late and step < 3 else gradients[key][step].clone()
        optimiser.step()
    for key, parameter in parameters.items():
        tensors[f"{name}.{key}"] = parameter.detach().clone()


def main():
    OUT.mkdir(exist_ok=True)
    weights, gradients = start(0)
    tensors = {f"start.{key}": value for key, value in weights.items()}
    tensors |= {f"gradient.{step}.{key}": value[step] for key, value in gradients.items() for step in range(STEPS)}
    sgd, adamw = torch.optim.SGD, torch.optim.AdamW
    run(lambda p: sgd(p.values(), lr=0.1, momentum=0.9, weight_decay=1e-2), "sgd", tensors)
    run(lambda p: sgd(p.values(), lr=0.1, momentum=0.9, weight_decay=1e-2, nesterov=True), "nesterov", tensors)
    run(lambda p: sgd(p.values(), lr=0.1, momentum=0), "plain", tensors)
    groups = lambda p: [{"params": [p["conv.weight"]], "lr": 0.05},
                        {"params": [p["fc.weight"]]}, {"params": [p["fc.bias"]], "weight_decay": 0}]
    run(lambda p: sgd(groups(p), lr=0.1, momentum=0.9, weight_decay=1e-2), "groups", tensors)
    run(lambda p: adamw(p.values(), lr=0.1, weight_decay=0.05), "adamw", tensors)
    run(lambda p: adamw(groups(p), lr=0.1, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.05), "adamw_groups", tensors)

    parameter = [torch.nn.Parameter(torch.zeros(1))]
    tables = {
        "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=20, eta_min=0.01),
        "step": lambda o: torch.optim.lr_scheduler.MultiStepLR(o, milestones=[12, 16], gamma=0.1),
        "warmup_cosine": lambda o: torch.optim.lr_scheduler.SequentialLR(
            o, [torch.optim.lr_scheduler.LinearLR(o, start_factor=0.25, total_iters=5),
                torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=15)], milestones=[5]),
    }
    for name, make in tables.items():
        optimiser = sgd(parameter, lr=0.3)
        schedule = make(optimiser)
        rates = []
        for _ in range(20):
            rates.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            schedule.step()
        tensors[f"lr.{name}"] = torch.tensor(rates, dtype=torch.float64)

    parameters = [torch.nn.Parameter(weights[key].clone()) for key in weights]
    for key, p in zip(weights, parameters):
        p.grad = gradients[key][0].clone()
    tensors["clip.norm"] = torch.nn.utils.clip_grad_norm_(parameters, 1.5)
    for key, p in zip(weights, parameters):
        tensors[f"clip.{key}"] = p.grad.clone()
    save_file(tensors, OUT / "optimizers.safetensors")

    tensors = {}
    run(lambda p: adamw(p.values(), lr=0.1, weight_decay=0.05), "adamw_late", tensors, late="fc.weight")
    save_file(tensors, OUT / "adamw_late.safetensors")


if __name__ == "__main__":
    main()
