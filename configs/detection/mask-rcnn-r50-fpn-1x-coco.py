"""MMDetection 3: Mask R-CNN, R50-FPN, on COCO, 12 epochs ("1x"). All layers are trained, with synchronised norms in the backbone,
the pyramid and both heads, and a box head of four convolutions and one fully connected layer. Eight GPUs with two images each."""
_base_ = "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"

norm_cfg = dict(type="SyncBN", requires_grad=True)
model = dict(
    # The colours of the pretraining, red first; for `normalisation = "clip"`:
    # mean=[122.7709, 116.7460, 104.0937], std=[68.5005, 66.6322, 70.3232]
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    backbone=dict(
        frozen_stages=-1,
        norm_cfg=norm_cfg,
        norm_eval=False,
        # of `genview export --layout mmdetection`, converted as it says
        init_cfg=dict(type="Pretrained", checkpoint="backbone.pth", prefix="backbone.")),
    neck=dict(norm_cfg=norm_cfg),
    roi_head=dict(
        bbox_head=dict(type="Shared4Conv1FCBBoxHead", conv_out_channels=256, norm_cfg=norm_cfg),
        mask_head=dict(norm_cfg=norm_cfg)))

train_pipeline = [
    dict(type="LoadImageFromFile", backend_args=None),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="RandomChoiceResize", scales=[(1333, side) for side in (640, 672, 704, 736, 768, 800)], keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

# The first 1,000 updates, from a thousandth of the rate; then a tenth of it after epochs 8 and 11.
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type="MultiStepLR", by_epoch=True, begin=0, end=12, milestones=[8, 11], gamma=0.1),
]
