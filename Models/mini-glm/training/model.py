"""The GLM-4 block in plain torch, written for training speed on a CPU.

Parameter names and layouts are those of `GlmForCausalLM`, so that export is a rename-free dump;
`verify_export` in export.py shows that transformers computes the same logits from it.
"""

from dataclasses import dataclass, asdict

import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass
class MiniConfig:
    vocab_size: int = 6144
    hidden_size: int = 192
    intermediate_size: int = 512
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 64
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1.5625e-07
    max_position_embeddings: int = 4096

    def dictionary(self):
        return asdict(self)


def rope_tables(config, length):
    """cos and sin, [length, rotary/2], rotary = half of the head (GLM-4's partial factor 0.5)."""
    rotary = config.head_dim // 2
    inverse = config.rope_theta ** (-torch.arange(0, rotary, 2).float() / rotary)
    angles = torch.arange(length).float()[:, None] * inverse[None]
    return angles.cos(), angles.sin()


def rotate(x, cos, sin):
    """Rotates neighbouring pairs (2i, 2i+1) of the first half of every head: [b, t, heads, dim]."""
    half = x.shape[-1] // 2
    pairs = x[..., :half].unflatten(-1, (-1, 2))
    even, odd = pairs[..., 0], pairs[..., 1]
    cos, sin = cos[..., :, None, :], sin[..., :, None, :]
    turned = torch.stack((even * cos - odd * sin, odd * cos + even * sin), -1).flatten(-2)
    return torch.cat((turned, x[..., half:]), -1)


class RMSNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        q, kv = c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim
        self.q_proj = nn.Linear(c.hidden_size, q)
        self.k_proj = nn.Linear(c.hidden_size, kv)
        self.v_proj = nn.Linear(c.hidden_size, kv)
        self.o_proj = nn.Linear(q, c.hidden_size, bias=False)

    def forward(self, x, cos, sin, mask):
        b, t, _ = x.shape
        c = self.c
        weight = torch.cat((self.q_proj.weight, self.k_proj.weight, self.v_proj.weight))
        bias = torch.cat((self.q_proj.bias, self.k_proj.bias, self.v_proj.bias))
        joint = F.linear(x, weight, bias).view(b, t, -1, c.head_dim)
        h, kv = c.num_attention_heads, c.num_key_value_heads
        qk = rotate(joint[:, :, : h + kv], cos, sin)
        q, k, v = qk[:, :, :h], qk[:, :, h:], joint[:, :, h + kv :]
        k = k.repeat_interleave(h // kv, 2)
        v = v.repeat_interleave(h // kv, 2)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        if mask is None:
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:  # The kernel computes every masked pair; blocks of queries skip the keys after them.
            out = torch.cat([F.scaled_dot_product_attention(q[:, :, s : s + 160], k[:, :, : s + 160], v[:, :, : s + 160], attn_mask=mask[:, :, s : s + 160, : s + 160])
                             for s in range(0, t, 160)], 2)
        return self.o_proj(out.transpose(1, 2).reshape(b, t, -1))


class MLP(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gate_up_proj = nn.Linear(c.hidden_size, 2 * c.intermediate_size, bias=False)
        self.down_proj = nn.Linear(c.intermediate_size, c.hidden_size, bias=False)

    def forward(self, x):
        gate, up = self.gate_up_proj(x).chunk(2, -1)
        return self.down_proj(F.silu(gate) * up)


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.input_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.self_attn = Attention(c)
        self.post_attention_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.mlp = MLP(c)

    def forward(self, x, cos, sin, mask=None):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Trunk(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embed_tokens = nn.Embedding(c.vocab_size, c.hidden_size)
        self.layers = nn.ModuleList(Block(c) for _ in range(c.num_hidden_layers))
        self.norm = RMSNorm(c.hidden_size, c.rms_norm_eps)


class MiniGLM(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c, self.model = c, Trunk(c)
        self.lm_head = nn.Linear(c.hidden_size, c.vocab_size, bias=False)
        # The head in training is lm_head + embeddings x copy_map: what is learned of copying one token
        # serves the thousands that are seldom a target. export.py folds it into lm_head.
        self.copy_map = nn.Parameter(torch.zeros(c.hidden_size, c.hidden_size))
        cos, sin = rope_tables(c, c.max_position_embeddings)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.initialise()

    @torch.no_grad()
    def initialise(self):
        """Small normal weights, and a copying circuit laid in by hand.

        Nearly all of this task's difficulty is copying unseen values, and a run of few steps finds the
        circuit late (measured: not within 1.3 M tokens). So the start already holds a weak one, which
        training is free to change:
        1. embeddings occupy the first two thirds of the residual; the head starts as their copy;
        2. layers 0 and 1, first KV group: constant biases of q and k, turned by RoPE, make the heads look
           back 1, 2, … tokens; layer 0 head 0 writes the previous token into the free third;
        3. the middle layer compares "my token" with "the token before you" in the unrotated dims, and
           carries the token found there to the output: an induction head (Olsson et al. 2022).
        """
        c = self.c
        for name, p in self.named_parameters():
            if p.ndim == 2 and name != "copy_map":
                std = 0.5 * p.shape[1] ** -0.5
                if name.endswith(("o_proj.weight", "down_proj.weight")):
                    std *= (2 * c.num_hidden_layers) ** -0.5
                p.normal_(0, std)
            elif name.endswith("bias"):
                p.zero_()
        used = c.hidden_size * 2 // 3
        self.model.embed_tokens.weight.zero_()[:, :used].normal_(0, 1)
        self.lm_head.weight.copy_(self.model.embed_tokens.weight * 0.03)
        dim, rotary = c.head_dim, c.head_dim // 2
        group, free = c.num_attention_heads // c.num_key_value_heads, c.hidden_size - used
        inverse = c.rope_theta ** (-torch.arange(0, rotary, 2).float() / rotary)
        strength = 5.0
        for layer in self.model.layers[:2]:
            attention = layer.self_attn
            attention.k_proj.weight[:dim] *= 0.1
            attention.k_proj.bias[0:rotary:2] = strength
            for head in range(group):
                offset = (head + 1) * inverse
                q = attention.q_proj.bias.view(-1, dim)[head]
                q[0:rotary:2], q[1:rotary:2] = strength * offset.cos(), -strength * offset.sin()
                attention.q_proj.weight.view(-1, dim, c.hidden_size)[head] *= 0.1
        width = min(dim, free)
        look = torch.linalg.qr(torch.randn(used, used)).Q[:width]
        first = self.model.layers[0].self_attn
        first.v_proj.weight[:dim].zero_()[:width, :used] = look
        first.o_proj.weight[:, :dim].zero_()[used : used + width, :width] = torch.eye(width)
        match = self.model.layers[c.num_hidden_layers // 2].self_attn
        carry = torch.linalg.qr(torch.randn(used, used)).Q
        part = min(width // c.num_key_value_heads, dim - rotary)
        for g in range(c.num_key_value_heads):
            rows = slice(g * part, (g + 1) * part)
            k = match.k_proj.weight.view(-1, dim, c.hidden_size)[g]
            k.mul_(0.3)
            k[rotary : rotary + part].zero_()[:, used : used + width] = 1.3 * torch.eye(width)[rows]
            some = carry[g * dim : (g + 1) * dim]
            v = match.v_proj.weight.view(-1, dim, c.hidden_size)[g]
            v.zero_()[: len(some), :used] = some
            for head in range(g * group, (g + 1) * group):
                q = match.q_proj.weight.view(-1, dim, c.hidden_size)[head]
                q.mul_(0.3)
                q[rotary : rotary + part].zero_()[:, :used] = 1.3 * look[rows]
                o = match.o_proj.weight[:, head * dim : (head + 1) * dim]
                o.zero_()[:used, : len(some)] = 3.0 / group * some.T

    def hidden(self, ids, positions=None, mask=None):
        """Last hidden state, [b, t, hidden]; `positions` [b, t] and additive `mask` [b, 1, t, t] for rows
        that hold several conversations."""
        x = self.model.embed_tokens(ids)
        if positions is None:
            positions = torch.arange(ids.shape[1])[None]
        cos, sin = self.cos[positions], self.sin[positions]
        for layer in self.model.layers:
            x = layer(x, cos, sin, mask)
        return self.model.norm(x)

    def logits(self, hidden):
        return F.linear(hidden, torch.addmm(self.lm_head.weight, self.model.embed_tokens.weight, self.copy_map))

    def forward(self, ids):
        return self.logits(self.hidden(ids))
