// TensorBoard records: a run that is resumed reads its own file, which a power cut may have left in any state.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "genview/train/event_log.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string file(reinterpret_cast<const char*>(data), size);
  const uint64_t some = genview::EventsUpTo(file, 2), all = genview::EventsUpTo(file, INT64_MAX);
  if (some > all || all > size) std::abort();
  // The same bytes as the payload of a record with right checksums reach the reader of events.
  const std::string record = genview::TfRecord(file);
  const uint64_t whole = genview::EventsUpTo(record, INT64_MAX);
  if (whole != 0 && whole != record.size()) std::abort();
  return 0;
}
