// Everything Swift sees of the kernels.
#pragma once
#include "k_types.h"
#include "k_pool.h"
#include "k_linear.h"
#include "k_attention.h"
#include "k_elementwise.h"
#include "k_probe.h"
#include "k_allocator.h"
#include "k_process.h"
#if __has_include("quant_kernels.h")
#include "quant_kernels.h"
#endif
