#pragma once

namespace bulkhead::reconcile {

inline constexpr char kVersionText[] = BULKHEAD_VERSION;  // of the project, from meson

}  // namespace bulkhead::reconcile
