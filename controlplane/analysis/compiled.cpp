#include "controlplane/analysis/compiled.h"

#include "dataplane/image/validate.h"

namespace bulkhead::analysis {

std::variant<std::unique_ptr<Compiled>, std::string> compile_checked(const compile::Input& input) {
  auto output = compile::compile(input);
  if (auto* refusal = std::get_if<compile::Refusal>(&output)) return std::move(refusal->reason);
  auto compiled = std::make_unique<Compiled>();
  compiled->output = std::get<compile::Output>(std::move(output));
  auto view = view_of(compiled->output);
  if (auto* reason = std::get_if<std::string>(&view)) return std::move(*reason);
  compiled->view = std::get<image::View>(view);
  return compiled;
}

std::variant<image::View, std::string> view_of(const compile::Output& output) {
  auto checked = image::validate(output.image.sections(), false);
  if (auto* refusal = std::get_if<image::Refusal>(&checked)) return std::move(refusal->reason);
  return std::get<image::View>(checked);
}

}  // namespace bulkhead::analysis
