#include "controlplane/compile/compile.h"

#include "controlplane/compile/compiler.h"

namespace bulkhead::compile {

std::variant<Output, Refusal> compile(const Input& input) {
  return Compiler::compile_once(input);
}

}  // namespace bulkhead::compile
