"""Trains Mini-GLM on a CPU: python train.py --data SHARDS --out RUN --deadline HH:MM [--resume]

Muon for the matrices of the blocks, AdamW for the rest. The learning rate is constant and decays
linearly over the last part of the wall clock, so the run anneals by its deadline at any throughput.
Shards are read once each, in order; new ones may be written while training goes on."""

import argparse
import datetime
import glob
import json
import os
import time

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from model import MiniConfig, MiniGLM

def orthogonal(g):
    """Newton-Schulz iteration of Muon (Jordan et al. 2024), f32."""
    x, flip = g, g.shape[0] > g.shape[1]
    if flip:
        x = x.T
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.T if flip else x


class Muon:
    """`parts` splits fused rows (gate and up) so that each is orthogonalised by itself."""

    def __init__(self, params, lr, momentum=0.95, decay=0.02):
        self.params, self.lr, self.momentum, self.decay = params, lr, momentum, decay
        self.buffers = [torch.zeros_like(p) for p, _ in params]

    @torch.no_grad()
    def step(self, scale, rank, ranks):
        """Every rank orthogonalises its share of the matrices; one sum hands the updates round."""
        updates = torch.zeros(sum(p.numel() for p, _ in self.params))
        views = [v.view_as(p) for v, (p, _) in zip(updates.split([p.numel() for p, _ in self.params]), self.params)]
        for i, ((p, parts), buffer) in enumerate(zip(self.params, self.buffers)):
            buffer.lerp_(p.grad, 1 - self.momentum)
            if i % ranks == rank:
                update = p.grad.lerp(buffer, self.momentum)
                views[i].copy_(torch.cat([orthogonal(u) for u in update.chunk(parts)]))
        if ranks > 1:
            dist.all_reduce(updates)
        for (p, parts), update in zip(self.params, views):
            lr = self.lr * scale * max(1, p.shape[0] / parts / p.shape[1]) ** 0.5
            p.mul_(1 - lr * self.decay).add_(update, alpha=-lr)
            p.grad = None


class CrossEntropy(torch.autograd.Function):
    """Per-row loss; keeps the probabilities in the logits' memory, so that the exponential of
    [rows, vocabulary] is computed once and not again for the gradient."""

    @staticmethod
    def forward(ctx, logits, targets):
        index = targets[:, None]
        picked = logits.gather(1, index)
        top = logits.amax(1, keepdim=True)
        logits.sub_(top).exp_()
        total = logits.sum(1, keepdim=True)
        logits.div_(total)
        ctx.save_for_backward(logits, index)
        return (total.log() + top - picked)[:, 0]

    @staticmethod
    def backward(ctx, grad):
        probabilities, index = ctx.saved_tensors
        probabilities.scatter_add_(1, index, probabilities.new_full(index.shape, -1.0))
        return probabilities.mul_(grad[:, None]), None


def batches(args, state, rng, rank, ranks):
    """(ids, kinds, branch) batches of one row length each; several shards are mixed."""
    while True:
        files = sorted(glob.glob(f"{args.data}/?????.npz"))
        todo = [f for f in files if f > state["shard"]][: args.mix]
        if ranks > 1:  # All ranks use rank 0's list: a shard may appear between two listings.
            box = [todo]
            dist.broadcast_object_list(box)
            todo = box[0]
        if not todo:
            print("no new shard: reusing", flush=True)
            todo = [str(f) for f in rng.choice(files, args.mix, replace=False)]
        else:
            state["shard"] = todo[-1]
        data, pool = [dict(np.load(f)) for f in todo], []
        for size in sorted({int(k[3:]) for d in data for k in d if k.startswith("ids")}):
            rows = [(d, r) for d in data if f"ids{size}" in d for r in range(len(d[f"ids{size}"]))]
            rng.shuffle(rows)
            per = max(1, args.tokens // size)
            pool += [(size, rows[i : i + per]) for i in range(0, len(rows) - per + 1, per)]
        rng.shuffle(pool)
        pool = pool[: len(pool) // ranks * ranks]
        for size, rows in pool[rank::ranks]:
            yield tuple(torch.from_numpy(np.stack([d[f"{name}{size}"][r] for d, r in rows]).astype(kind))
                        for name, kind in (("ids", np.int64), ("kinds", np.int64), ("branch", np.int64)))


def geometry(branch):
    """Positions that go on from the prefix in every branch, and the additive mask (0 or -inf)."""
    b, t = branch.shape
    index = torch.arange(t)
    prefix = (branch == 0).sum(1, keepdim=True)
    new = torch.ones_like(branch, dtype=torch.bool)
    new[:, 1:] = branch[:, 1:] != branch[:, :-1]
    start = torch.where(new, index, 0).cummax(1).values
    positions = torch.where(branch == 0, index, prefix + index - start)
    see = (branch[:, None, :] == 0) | (branch[:, None, :] == branch[:, :, None])
    see = see & (index[None, :, None] >= index[None, None, :])
    return positions, torch.zeros(b, 1, t, t).masked_fill_(~see[:, None], float("-inf"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--deadline", required=True, help="HH:MM local time at which the rate reaches zero")
    parser.add_argument("--decay", type=float, default=0.4, help="share of the wall time spent decaying")
    parser.add_argument("--tokens", type=int, default=2560, help="per rank and step")
    parser.add_argument("--mix", type=int, default=3)
    parser.add_argument("--vocab", type=int, default=9024)
    parser.add_argument("--muon-lr", type=float, default=0.006)
    parser.add_argument("--adam-scale", type=float, default=0.5)
    parser.add_argument("--context", type=float, nargs=2, default=[0.15, 0.03], help="share of user/tool and system tokens in the loss")
    parser.add_argument("--steps", type=int, default=10**9)
    parser.add_argument("--save-every", type=float, default=240)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--init", help="start from the weights of an exported model folder")
    parser.add_argument("--assistant", type=int, default=8993, help="id of <|assistant|>")
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--ranks", type=int, default=1)
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    # One process per core with one thread each: on a shared machine threads that meet at every matrix
    # product wait for whichever was descheduled (measured: ten times slower); ranks meet once per step.
    torch.set_num_threads(1)
    rank, ranks = args.rank, args.ranks
    if ranks > 1:
        dist.init_process_group("gloo", init_method=f"file://{args.out}/rendezvous", rank=rank, world_size=ranks)
    torch.manual_seed(1)
    torch.set_float32_matmul_precision("highest")
    config = MiniConfig(vocab_size=args.vocab)
    model = MiniGLM(config)
    matrices = [(p, 2 if "gate_up" in n else 1) for n, p in model.named_parameters() if p.ndim == 2 and ".layers." in n]
    muon = Muon(matrices, args.muon_lr)
    s = args.adam_scale
    rest = [p for n, p in model.named_parameters() if ".layers." in n and p.ndim == 1] + [model.model.norm.weight]
    groups = [{"params": [model.model.embed_tokens.weight], "lr": 0.008 * s}, {"params": [model.lm_head.weight], "lr": 0.002 * s}, {"params": rest, "lr": 0.005 * s}, {"params": [model.copy_map], "lr": 0.0006 * s}]
    adam = torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-10, weight_decay=0.0, fused=True)
    base = [g["lr"] for g in adam.param_groups]
    state = {"step": 0, "tokens": 0, "shard": "", "seconds": 0.0}
    if args.init:
        model.load_state_dict({k: v.float() for k, v in load_file(f"{args.init}/model.safetensors").items()}, strict=False)
    if args.resume and os.path.exists(f"{args.out}/state.pt"):
        saved = torch.load(f"{args.out}/state.pt", weights_only=False)
        model.load_state_dict(saved["model"])
        adam.load_state_dict(saved["adam"])
        for b, v in zip(muon.buffers, saved["muon"]):
            b.copy_(v)
        state = saved["state"]
    now = datetime.datetime.now()
    hour, minute = map(int, args.deadline.split(":"))
    end = now.replace(hour=hour, minute=minute, second=0).timestamp()
    begin = time.time() - state["seconds"]
    decay_from = end - args.decay * (end - begin)
    if args.compile:
        for layer in model.model.layers:
            layer.forward = torch.compile(layer.forward, dynamic=False)

    def save():
        payload = {"model": model.state_dict(), "adam": adam.state_dict(), "muon": muon.buffers, "state": state, "config": config.dictionary()}
        torch.save(payload, f"{args.out}/state.tmp")
        os.replace(f"{args.out}/state.tmp", f"{args.out}/state.pt")

    rng = np.random.default_rng(state["step"] + 5)  # the same on all ranks
    generator = torch.Generator().manual_seed(state["step"] + 7 + 1000003 * rank)
    last_save, log_time, log_tokens, meter = time.time(), time.time(), 0, [0.0, 0, 0.0, 0, 0.0, 0]
    shares = torch.tensor([args.context[1], args.context[0], 1.0])
    started = time.time() - state["seconds"]
    for ids, kinds, branch in batches(args, state, rng, rank, ranks):
        # The token before a branch's first one is not its predecessor, so that spot carries no loss.
        keep = (torch.rand(kinds.shape, generator=generator) < shares[kinds]) & (branch < 255)
        keep[:, 1:] &= branch[:, 1:] == branch[:, :-1]
        keep[:, 0] = False
        spots = keep[:, 1:].flatten().nonzero().squeeze(1)
        positions, mask = geometry(branch)
        hidden = model.hidden(ids, positions, mask)[:, :-1].flatten(0, 1)[spots]
        losses = CrossEntropy.apply(model.logits(hidden), ids[:, 1:].flatten()[spots])
        answer = (kinds[:, 1:].flatten()[spots] == 2).float()
        # The first two tokens of a turn decide between answer, question, call and refusal.
        opening = torch.zeros_like(kinds, dtype=torch.bool)
        for back in (1, 2):
            opening[:, back:] |= (kinds[:, back:] == 2) & (ids[:, :-back] == args.assistant)
        weight = answer * (1 + 2 * opening[:, 1:].flatten()[spots]) + (1 - answer) * 0.3
        loss = (losses * weight).sum() / (answer.sum() + 64)
        loss.backward()
        rate = min(1.0, (state["step"] + 1) / 60, max(0.0, (end - time.time()) / max(1.0, end - decay_from)))
        over = float(time.time() >= end)
        if ranks > 1:  # The clock travels with the gradients, or the replicas would drift apart.
            grads = [p.grad for p in model.parameters()]
            joint = torch.cat([g.flatten() for g in grads] + [torch.tensor([rate, over])])
            dist.all_reduce(joint)
            joint /= ranks
            for g, part in zip(grads, joint[:-2].split([g.numel() for g in grads])):
                g.copy_(part.view_as(g))
            rate, over = joint[-2].item(), joint[-1].item()
        torch.nn.utils.clip_grad_norm_([p for g in adam.param_groups for p in g["params"]], 1.0)
        muon.step(rate, rank, ranks)
        for g, lr in zip(adam.param_groups, base):
            g["lr"] = lr * rate
        adam.step()
        adam.zero_grad(set_to_none=True)
        state["step"] += 1
        used = int((branch < 255).sum())
        used *= ranks
        state["tokens"] += used
        state["seconds"] = time.time() - started
        log_tokens += used
        meter[0] += float((losses.detach() * answer).sum()); meter[1] += float(answer.sum())
        meter[2] += float((losses.detach() * (1 - answer)).sum()); meter[3] += float((1 - answer).sum())
        first = opening[:, 1:].flatten()[spots].float()
        meter[4] += float((losses.detach() * first).sum()); meter[5] += float(first.sum())
        if rank == 0 and state["step"] % 20 == 0:
            print(json.dumps({"step": state["step"], "answer_loss": round(meter[0] / meter[1], 4), "opening_loss": round(meter[4] / max(1, meter[5]), 4), "context_loss": round(meter[2] / max(1, meter[3]), 4), "rate": round(rate, 3),
                              "tok_s": round(log_tokens / (time.time() - log_time)), "tokens": state["tokens"], "s": round(state["seconds"]), "shard": os.path.basename(state["shard"])}), flush=True)
            log_time, log_tokens, meter = time.time(), 0, [0.0, 0, 0.0, 0, 0.0, 0]
        done = over > 0 or state["step"] >= args.steps
        if done or time.time() - last_save > args.save_every:
            if rank == 0:
                save()
            last_save = time.time()
        if done:
            break


if __name__ == "__main__":
    main()
