// An image straight from the compiler, with its view.
#pragma once

#include <memory>
#include <string>
#include <variant>

#include "controlplane/compile/compile.h"
#include "dataplane/image/query.h"

namespace bulkhead::analysis {

/// A compiled image and the bytes that its view points into.
struct Compiled {
  compile::Output output;
  image::View view;
};

/// The reason, where there is no image.
std::variant<std::unique_ptr<Compiled>, std::string> compile_checked(const compile::Input& input);

/// Of an output that lives on. Its digests were made a moment ago, in this process, and are not looked at.
std::variant<image::View, std::string> view_of(const compile::Output& output);

}  // namespace bulkhead::analysis
