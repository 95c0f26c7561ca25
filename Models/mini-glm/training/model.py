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
    num_attention_heads: int = 6
    num_key_value_heads: int = 2
    head_dim: int = 32
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
        out = F.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2),
            attn_mask=mask, is_causal=mask is None,
        )
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
        cos, sin = rope_tables(c, c.max_position_embeddings)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.initialise()

    @torch.no_grad()
    def initialise(self):
        """Small normal weights; two starts that make copying easy to learn.

        1. The head starts as a copy of the embedding (it stays a separate matrix): a head that moves
           a token's embedding forward then already votes for that token, also for rare ones.
        2. In the first two layers the query/key biases of the first KV group are set so that its query
           heads look back 1, 2, 3, … tokens (RoPE turns a constant pair into cos of the distance).
           Together with a later head this is the induction circuit that copying needs.
        """
        c = self.c
        for name, p in self.named_parameters():
            if p.ndim == 2:
                std = p.shape[1] ** -0.5
                if name.endswith(("o_proj.weight", "down_proj.weight")):
                    std *= (2 * c.num_hidden_layers) ** -0.5
                p.normal_(0, std)
            elif name.endswith("bias"):
                p.zero_()
        self.model.embed_tokens.weight.normal_(0, 1)
        self.lm_head.weight.copy_(self.model.embed_tokens.weight * 0.05)
        group, rotary = c.num_attention_heads // c.num_key_value_heads, c.head_dim // 2
        inverse = c.rope_theta ** (-torch.arange(0, rotary, 2).float() / rotary)
        strength = 5.0
        for layer in self.model.layers[:2]:
            attention = layer.self_attn
            attention.k_proj.bias.view(-1, c.head_dim)[0, 0:rotary:2] = strength
            attention.k_proj.weight[: rotary] *= 0.2
            for head in range(group):
                offset = (head + 1) * inverse
                q = attention.q_proj.bias.view(-1, c.head_dim)[head]
                q[0:rotary:2] = strength * (-offset).cos() * 1.0
                q[1:rotary:2] = strength * (-offset).sin()
                attention.q_proj.weight.view(-1, c.head_dim, c.hidden_size)[head, :rotary] *= 0.2

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

    def forward(self, ids):
        return self.lm_head(self.hidden(ids))
