// Products: rows are prepared once, then threads share out (row block, panels); each piece goes
// through a scratch of at most 512 rows x 128 outputs that stays in L2, and from there with bias,
// residual or gate to its place.
#include "kernels.h"

enum {
  LDC = K_COLUMN_PANELS * K_PANEL + 16,      // no power of two: rows fall into different sets
  FEW_ROWS = 32,
  FEW_PANELS = 8,                            // a piece of few rows
  LDC_FEW = FEW_PANELS * K_PANEL + 16,
  TILE_BYTES = K_ROW_BLOCK * LDC * 4,
  REDUNDANT = 4096,                          // values that every thread prepares for itself
};

typedef struct {
  const k_linear *job;
  const k_isa_ops *isa;
  void *prepared;       // NULL: every thread has its own
  k_pool *pool;
  int units, unit_panels, row_blocks;
  uint8_t ready[K_THREADS_MAX];
} state;

static void prepare_task(void *context, int begin, int end, int thread) {
  (void)thread;
  state *s = context;
  s->job->ops->prepare(s->job->w, &s->job->x, begin, end, s->prepared);
}

static void finish_piece(const state *s, int r0, int r1, int p0, int p1, const float *c,
                         size_t ldc) {
  const k_linear *job = s->job;
  const k_matrix *w = job->w;
  for (int r = r0; r < r1; r++, c += ldc) {
    float *out = job->out + (size_t)r * job->out_stride;
    if (job->epilogue == K_GATED) {
      for (int p = p0; p < p1; p += 2) {
        const int at = p / 2 * K_PANEL, n = w->outputs - at < K_PANEL ? w->outputs - at : K_PANEL;
        const float *gate = c + (p - p0) * K_PANEL;
        s->isa->silu_multiply(gate, gate + K_PANEL, n, out + at);
      }
    } else {
      const int at = p0 * K_PANEL, end = p1 * K_PANEL < w->outputs ? p1 * K_PANEL : w->outputs;
      s->isa->finish(c, w->bias ? w->bias + at : NULL, end - at, job->epilogue == K_ADD, out + at);
    }
  }
}

static void multiply_task(void *context, int begin, int end, int thread) {
  state *s = context;
  const k_linear *job = s->job;
  const int rows = job->x.rows, panels = job->w->panels;
  float *c = k_pool_scratch(s->pool, thread);
  void *prepared = s->prepared;
  if (!prepared) {
    prepared = (uint8_t *)c + TILE_BYTES;
    if (!s->ready[thread]) {
      job->ops->prepare(job->w, &job->x, 0, rows, prepared);
      s->ready[thread] = 1;
    }
  }
  const size_t ldc = rows <= FEW_ROWS ? LDC_FEW : LDC;
  for (int i = begin, n; i < end; i += n) {
    const int block = i % s->row_blocks, unit = i / s->row_blocks;
    n = s->row_blocks == 1 && rows <= FEW_ROWS ? FEW_PANELS / s->unit_panels : 1;
    if (n > end - i) n = end - i;
    const int p0 = unit * s->unit_panels;
    int p1 = (unit + n) * s->unit_panels;
    if (p1 > panels) p1 = panels;
    const int r0 = (int)((int64_t)rows * block / s->row_blocks);
    const int r1 = (int)((int64_t)rows * (block + 1) / s->row_blocks);
    job->ops->multiply(job->w, prepared, rows, r0, r1, p0, p1, c, ldc);
    finish_piece(s, r0, r1, p0, p1, c, ldc);
    k_pool_beat(s->pool, thread);
  }
}

void k_linear_run(k_pool *pool, k_isa isa, const k_linear *job) {
  const int rows = job->x.rows, inputs = job->w->inputs, threads = k_pool_threads(pool);
  state s = {.job = job, .isa = k_isa_ops_for(isa), .pool = pool};
  const size_t bytes = job->ops->prepared_bytes(inputs, rows);
  const int small = rows == 1 || (int64_t)rows * inputs <= REDUNDANT;
  if (!small || bytes + TILE_BYTES > k_pool_scratch_bytes(pool)) {
    s.prepared = job->prepared;
    const int least = REDUNDANT / inputs < 1 ? 1 : REDUNDANT / inputs;
    k_pool_for(pool, rows, least, rows, prepare_task, &s);
  }
  s.unit_panels = rows <= FEW_ROWS ? 2 : K_COLUMN_PANELS;
  s.units = (job->w->panels + s.unit_panels - 1) / s.unit_panels;
  s.row_blocks = (rows + K_ROW_BLOCK - 1) / K_ROW_BLOCK;
  // Narrow matrices: cut the rows, so that every thread finds work to the end.
  while (rows > FEW_ROWS && s.units * s.row_blocks < 6 * threads && rows / s.row_blocks >= 96) {
    s.row_blocks++;
  }
  const int64_t work = (int64_t)rows * s.unit_panels * inputs;  // / 32 multiplications
  const int least = work >= 2048 ? 1 : (int)(2048 / (work < 1 ? 1 : work));
  k_pool_for(pool, s.units * s.row_blocks, least, rows <= FEW_ROWS ? s.units : 1, multiply_task,
             &s);
}
