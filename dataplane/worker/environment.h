// What all workers share. Every part says itself how it may be shared.
#pragma once

#include <cstdint>

#include "dataplane/flow/table.h"
#include "dataplane/flow/timeouts.h"
#include "dataplane/port/table.h"
#include "dataplane/swap/enforced.h"
#include "dataplane/telemetry/region.h"

namespace bulkhead::worker {

struct Environment {
  swap::Publisher& publisher;
  port::Table& ports;
  flow::Table& flows;
  telemetry::Region& telemetry;
  port::Pools pools;
  flow::Timeouts timeouts;
  int trouble_event;  // an eventfd: some port reported trouble
};

}  // namespace bulkhead::worker
