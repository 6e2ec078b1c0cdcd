"""Names and shapes of a ResNet-18 and a ResNet-50 in Detectron2 and MMDetection: tests/golden/layouts/names-detection.txt. And,
with a folder as argument, whether what `genview export` wrote reaches every layer of the detectors of configs/detection.

python tests/golden/make_detection.py               writes the golden
python tests/golden/make_detection.py build/bin     checks the program in that folder against the libraries

Needs torch, safetensors and the sources of detectron2 and mmdet (with mmengine and mmcv-lite) on the path; the compiled operators
of neither are used, so that what takes their place here only has to be there."""
import contextlib
import io
import pathlib
import subprocess
import sys
import tempfile
import types

import PIL.Image
import torch

for name, value in {"LINEAR": 2, "BILINEAR": 2, "BICUBIC": 3, "NEAREST": 0}.items():  # which Pillow 10 dropped
    if not hasattr(PIL.Image, name):
        setattr(PIL.Image, name, value)
sys.modules["detectron2._C"] = types.ModuleType("detectron2._C")
ROOT = pathlib.Path(__file__).parents[2]
OUT = pathlib.Path(__file__).parent / "layouts"
CONFIGS = ROOT / "configs" / "detection"
sys.path.insert(0, str(CONFIGS))


def detectron2_encoder(depth):
    from detectron2.config import get_cfg
    from detectron2.layers import ShapeSpec
    from detectron2.modeling import build_resnet_backbone
    cfg = get_cfg()
    cfg.MODEL.BACKBONE.FREEZE_AT = 0
    resnets = cfg.MODEL.RESNETS
    resnets.DEPTH, resnets.NORM, resnets.STRIDE_IN_1X1, resnets.OUT_FEATURES = depth, "BN", False, ["res5"]
    if depth < 50:
        resnets.RES2_OUT_CHANNELS = 64
    return build_resnet_backbone(cfg, ShapeSpec(channels=3))


def mmdet_resnet():
    """The class, without its packages, which would ask for compiled operators."""
    import mmdet
    folder = pathlib.Path(mmdet.__file__).parent
    for package in ("models", "models.backbones", "models.layers"):
        module = sys.modules.setdefault(f"mmdet.{package}", types.ModuleType(f"mmdet.{package}"))
        module.__path__ = [str(folder / package.replace(".", "/"))]
    from mmdet.models.layers.res_layer import ResLayer
    sys.modules["mmdet.models.layers"].ResLayer = ResLayer
    from mmdet.models.backbones.resnet import ResNet
    return ResNet


def mmdet_encoder(depth):
    return mmdet_resnet()(depth, style="pytorch")


def names(model, prefix=""):
    return [f"{prefix}{key} [{','.join(map(str, value.shape))}]" for key, value in model.state_dict().items()]


def make():
    lines = []
    for depth in (18, 50):
        lines += [f"network detectron2 resnet{depth}", *names(detectron2_encoder(depth))]
        lines += [f"network mmdetection resnet{depth}", *names(mmdet_encoder(depth), "backbone.")]
    (OUT / "names-detection.txt").write_text("\n".join(lines) + "\n")
    print(len(lines), "lines")


def check(program):
    import torchvision
    from safetensors.torch import load_file
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)

        def genview(*words):
            return subprocess.run([program / "genview", *map(str, words)], check=True, capture_output=True, text=True).stdout

        torch.manual_seed(0)
        made = torchvision.models.resnet50()
        for name, tensor in made.state_dict().items():
            drawn = torch.randn(tensor.shape) * 0.1
            tensor.copy_(drawn.abs() + 0.5 if name.endswith("running_var") else drawn if tensor.dtype.is_floating_point else torch.tensor(7))
        torch.save(made.state_dict(), folder / "made.pth")
        genview("import", folder / "made.pth", "--out", folder / "own.safetensors")

        def convert(layout):
            """With the two lines of Python that the program prints."""
            said = genview("export", folder / "own.safetensors", "--layout", layout, "--out", folder / f"{layout}.safetensors")
            script = "import torch, safetensors.torch\n" + said.split("in Python:\n")[1].replace('"backbone.pth"', f'"{folder}/{layout}.pth"')
            exec(script, {})
            genview("import", folder / f"{layout}.pth", "--out", folder / "back.safetensors")
            back, own = load_file(folder / "back.safetensors"), load_file(folder / "own.safetensors")
            assert back.keys() == own.keys() and all(torch.equal(back[k], own[k]) for k in own), layout
            return folder / f"{layout}.pth"

        from detectron2.checkpoint import DetectionCheckpointer
        from detectron2.config import get_cfg
        from detectron2.modeling import build_model
        import extra_norm  # noqa: F401
        weights = convert("detectron2")
        for file in sorted(CONFIGS.glob("*.yaml")):
            cfg = get_cfg()
            cfg.merge_from_file(str(file))
            cfg.MODEL.DEVICE = "cpu"
            model = build_model(cfg)
            DetectionCheckpointer(model).load(str(weights))
            state, fpn = model.state_dict(), cfg.MODEL.BACKBONE.NAME.endswith("fpn_backbone")
            stages = 0
            for key, value in load_file(folder / "detectron2.safetensors").items():
                place = ("backbone.bottom_up." if fpn else "roi_heads." if key.startswith("res5") else "backbone.") + key
                assert torch.equal(state[place], value), (file.name, key)
                stages += 1
            assert all(p.requires_grad for p in model.parameters()), file.name
            print(file.name, stages, "tensors in their places, round trip equal")

        from mmengine.config import Config
        from mmengine.runner.checkpoint import load_checkpoint, _load_checkpoint_with_prefix
        weights = convert("mmdetection")
        file = CONFIGS / "mask-rcnn-r50-fpn-1x-coco.py"
        config = Config.fromfile(file)
        backbone = dict(config.model.backbone)
        assert backbone.pop("type") == "ResNet"
        init = backbone.pop("init_cfg")
        state = _load_checkpoint_with_prefix(init.prefix, str(weights))
        backbone["norm_cfg"] = dict(type="BN", requires_grad=True)
        peer = mmdet_resnet()(**backbone)
        peer.load_state_dict(state, strict=True)
        with torch.no_grad():
            pixels = torch.randn(1, 3, 64, 64)
            made.eval(), peer.eval()
            ours = torch.nn.Sequential(*list(made.children())[:-2])(pixels)
            assert torch.allclose(ours, peer(pixels)[-1], rtol=1e-4, atol=1e-5)
        print(file.name, len(state), "tensors, strictly; its features are the network's")


if __name__ == "__main__":
    with contextlib.redirect_stderr(io.StringIO()) if len(sys.argv) < 2 else contextlib.nullcontext():
        check(pathlib.Path(sys.argv[1])) if len(sys.argv) > 1 else make()
