# Rotary frequencies as transformers 5.23.0 computes them; run in this folder to make
# frequencies.json again.
import json
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers import LlamaConfig
out=[]
cases=[
 ("linear",dict(rope_type="linear",factor=4.0)),
 ("yarn-plain",dict(rope_type="yarn",factor=4.0,original_max_position_embeddings=32768)),
 ("yarn-fine",dict(rope_type="yarn",factor=8.0,original_max_position_embeddings=4096,beta_fast=24,beta_slow=2,truncate=False)),
 ("yarn-attention",dict(rope_type="yarn",factor=16.0,original_max_position_embeddings=4096,attention_factor=1.25)),
 ("yarn-mscale",dict(rope_type="yarn",factor=40.0,original_max_position_embeddings=4096,mscale=0.707,mscale_all_dim=1.0)),
 ("llama3",dict(rope_type="llama3",factor=8.0,low_freq_factor=1.0,high_freq_factor=4.0,original_max_position_embeddings=8192)),
]
for name,rs in cases:
    maxp=int(rs.get("original_max_position_embeddings",4096)*rs["factor"])
    cfg=LlamaConfig(hidden_size=512,num_attention_heads=4,head_dim=128,max_position_embeddings=maxp,rope_parameters=dict(rope_theta=500000.0,**rs))
    inv,att=ROPE_INIT_FUNCTIONS[rs["rope_type"]](cfg,"cpu")
    out.append(dict(name=name,positions=maxp,scaling=rs,theta=500000.0,magnitude=float(att),frequencies=[float(x) for x in inv]))
# dynamic at a given length
rs=dict(rope_type="dynamic",factor=2.0)
cfg=LlamaConfig(hidden_size=512,num_attention_heads=4,head_dim=128,max_position_embeddings=4096,rope_parameters=dict(rope_theta=10000.0,**rs))
for L in (4096,10000):
    inv,att=ROPE_INIT_FUNCTIONS["dynamic"](cfg,"cpu",seq_len=L)
    out.append(dict(name=f"dynamic-{L}",positions=L,context=4096,scaling=rs,theta=10000.0,magnitude=float(att),frequencies=[float(x) for x in inv]))
for o in out:
    o["frequencies"]=[float("%.9g"%x) for x in o["frequencies"]]
json.dump(out,open("frequencies.json","w"))
