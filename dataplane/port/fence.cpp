#include "dataplane/port/fence.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace bulkhead::port {
namespace {

/// r0 = TC_ACT_SHOT; exit
int load_drop_program() {
  bpf_insn program[2] = {};
  program[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
  program[0].dst_reg = BPF_REG_0;
  program[0].imm = TC_ACT_SHOT;
  program[1].code = BPF_JMP | BPF_EXIT;
  return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "bulkhead_fence", "Apache-2.0", program, 2, nullptr);
}

}  // namespace

Fence::Fence(int ifindex, std::string& failed) : ifindex_(ifindex) {
  libbpf_set_print(nullptr);
  const int program = load_drop_program();
  if (program < 0) {
    failed = std::string("loading the drop program: ") + strerror(errno);
    return;
  }
  bpf_tc_hook hook{};
  hook.sz = sizeof hook;
  hook.ifindex = ifindex;
  hook.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
  const int made = bpf_tc_hook_create(&hook);
  if (made != 0 && made != -EEXIST) {
    failed = std::string("adding a clsact qdisc: ") + strerror(-made);
    close(program);
    return;
  }
  created_ = made == 0;
  for (const auto point : {BPF_TC_INGRESS, BPF_TC_EGRESS}) {
    hook.attach_point = point;
    bpf_tc_opts options{};
    options.sz = sizeof options;
    options.prog_fd = program;
    options.flags = BPF_TC_F_REPLACE;
    options.handle = 1;
    options.priority = 1;
    if (const int attached = bpf_tc_attach(&hook, &options); attached != 0) {
      failed = std::string("attaching the drop program: ") + strerror(-attached);
      break;
    }
  }
  close(program);
}

void Fence::lower() {
  bpf_tc_hook hook{};
  hook.sz = sizeof hook;
  hook.ifindex = ifindex_;
  hook.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
  bpf_tc_hook_destroy(&hook);
}

}  // namespace bulkhead::port
