#include "genview/tensor/torch_file.h"

#include <gtest/gtest.h>

#include "genview/base/error.h"
#include "genview/base/random.h"
#include "genview/base/text.h"
#include "genview/tensor/safetensors.h"
#include "tests/golden/compare.h"
#include "tests/source_dir.h"

namespace genview {
namespace {

Path GoldenFile(const std::string& name) { return SourceDir() / "tests" / "golden" / "torch_file" / name; }

// Little-endian bytes of a number.
template <class T>
std::string Raw(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(T)};
}

struct ZipFile {
  std::string name, bytes;
  uint16_t method = 0, flags = 0;
  int64_t size_lie = 0;    // added to both sizes in the directory
  int64_t packed_lie = 0;  // added to the packed size alone
  int64_t place_lie = 0;   // added to where it lies
};

std::string Zip(const std::vector<ZipFile>& files, int64_t count_lie = 0, int64_t directory_lie = 0) {
  std::string archive, directory;
  for (const ZipFile& file : files) {
    const auto place = static_cast<uint32_t>(static_cast<int64_t>(archive.size()) + file.place_lie);
    const auto size = static_cast<uint32_t>(static_cast<int64_t>(file.bytes.size()) + file.size_lie);
    const auto packed = static_cast<uint32_t>(static_cast<int64_t>(size) + file.packed_lie);
    const std::string common = Raw<uint16_t>(0) + Raw(file.flags) + Raw(file.method) + Raw<uint32_t>(0) +
                               Raw<uint32_t>(0) + Raw(packed) + Raw(size) +
                               Raw(static_cast<uint16_t>(file.name.size()));
    archive += Raw<uint32_t>(0x04034b50) + common + Raw<uint16_t>(0) + file.name + file.bytes;
    directory += Raw<uint32_t>(0x02014b50) + Raw<uint16_t>(0) + common + std::string(12, '\0') + Raw(place) + file.name;
  }
  const auto count = static_cast<uint16_t>(static_cast<int64_t>(files.size()) + count_lie);
  const auto begin = static_cast<uint32_t>(static_cast<int64_t>(archive.size()) + directory_lie);
  return archive + directory + Raw<uint32_t>(0x06054b50) + Raw<uint32_t>(0) + Raw(count) + Raw(count) +
         Raw(static_cast<uint32_t>(directory.size())) + Raw(begin) + Raw<uint16_t>(0);
}

// A checkpoint with this pickle and one storage of six floats.
std::string Checkpoint(const std::string& pickle) {
  return Zip({{.name = "a/data.pkl", .bytes = pickle},
              {.name = "a/byteorder", .bytes = "little"},
              {.name = "a/data/0", .bytes = std::string(24, '\1')}});
}

std::string Text(const std::string& text) { return 'X' + Raw(static_cast<uint32_t>(text.size())) + text; }
std::string Int(int64_t value) { return std::string("\x8a\x08", 2) + Raw(value); }
std::string Tuple(const std::vector<int64_t>& values) {
  std::string pickle = "(";
  for (const int64_t value : values) pickle += Int(value);
  return pickle + 't';
}
const std::string kStart("\x80\x02}", 3);  // an empty dictionary

struct TensorParts {
  std::string type = "ctorch\nFloatStorage\n", key = "0", tag = "storage",
              maker = "ctorch._utils\n_rebuild_tensor_v2\n";
  int64_t count = 6, offset = 0;
  std::vector<int64_t> sizes = {2, 3}, strides = {3, 1};
};
// The instructions that make one tensor.
std::string Make(const TensorParts& p) {
  return p.maker + "((" + Text(p.tag) + p.type + Text(p.key) + Text("cpu") + Int(p.count) + "tQ" + Int(p.offset) +
         Tuple(p.sizes) + Tuple(p.strides) + "\x89)tR";
}
std::string Named(const TensorParts& parts) { return kStart + Text("w") + Make(parts) + "s."; }

std::string Complaint(const std::string& file) {
  try {
    ParseTorchFile(file, "a.pth");
  } catch (const Error& error) {
    EXPECT_EQ(error.text().where, "a.pth");
    EXPECT_FALSE(error.text().next.empty());
    EXPECT_EQ(error.text().what.find('\n'), std::string::npos) << error.text().what;
    return error.text().what;
  }
  return "";
}

TEST(TorchFile, HoldsWhatPyTorchSaved) {
  const WeightMap golden = Golden("torch_file/kinds");
  for (const char* name : {"kinds.pth", "kinds-protocol4.pth"}) {
    const WeightMap read = ReadTorchFile(GoldenFile(name));
    ASSERT_EQ(read.tensors().size(), golden.tensors().size());
    for (const auto& [key, expected] : golden.tensors()) {
      EXPECT_EQ(read.At(key).scalar_type(), expected.scalar_type()) << key;
      EXPECT_EQ(read.At(key).sizes(), expected.sizes()) << key;
      EXPECT_TRUE(at::equal(read.At(key).to(at::kDouble), expected.to(at::kDouble))) << key;
    }
  }
}

TEST(TorchFile, TrainingCheckpointsAreNamedByTheirPlace) {
  const WeightMap golden = Golden("torch_file/training"), read = ReadTorchFile(GoldenFile("training.pth"));
  for (const auto& [key, expected] : golden.tensors())
    EXPECT_TRUE(at::equal(read.At("state_dict." + key), expected)) << key;
  EXPECT_TRUE(read.Has("optimizer.state.0.momentum_buffer"));
  EXPECT_EQ(read.Metadata("arch"), "resnet50");
  EXPECT_EQ(read.Metadata("epoch"), "12");
  EXPECT_EQ(read.Metadata("best"), "0.25");
}

TEST(TorchFile, FormatIsToldByContents) {
  EXPECT_TRUE(ReadWeightsFile(GoldenFile("kinds.pth")).Has("transposed"));
  EXPECT_TRUE(ReadWeightsFile(GoldenFile("kinds.safetensors")).Has("transposed"));
}

TEST(TorchFile, MadeByHandIsRead) {
  EXPECT_EQ(Complaint(Checkpoint(Named({}))), "");
  const std::string file = Checkpoint(Named({.offset = 1, .sizes = {5}, .strides = {1}}));
  EXPECT_EQ(ParseTorchFile(file, "x").At("w").sizes(), (at::IntArrayRef{5}));
  const std::string empty = Checkpoint(kStart + ".");
  EXPECT_TRUE(ParseTorchFile(empty, "x").empty());
}

TEST(TorchFile, OldFormatsAreRefusedByName) {
  EXPECT_NE(Complaint(ReadFile(GoldenFile("before-1.6.pth"))).find("before 1.6"), std::string::npos);
  std::string tar(512, '\0');
  tar.replace(257, 5, "ustar");
  EXPECT_NE(Complaint(tar).find("is a tar"), std::string::npos);
  EXPECT_NE(Complaint("version https://git-lfs.github.com/spec/v1\n").find("Git LFS"), std::string::npos);
}

// Each wants something run. None of them is a call this program can make: the marker would appear only if one were.
TEST(TorchFile, NothingIsEverRun) {
  const Path marker = Path(testing::TempDir()) / "genview-was-run";
  std::error_code code;
  std::filesystem::remove(marker, code);
  const std::string command = Text("touch " + marker.string());
  const char* const callables[] = {"os\nsystem",
                                   "posix\nsystem",
                                   "nt\nsystem",
                                   "subprocess\nPopen",
                                   "subprocess\ncheck_output",
                                   "builtins\neval",
                                   "builtins\nexec",
                                   "__builtin__\neval",
                                   "__builtin__\nexecfile",
                                   "builtins\n__import__",
                                   "builtins\ngetattr",
                                   "builtins\ncompile",
                                   "builtins\nopen",
                                   "importlib\nimport_module",
                                   "runpy\nrun_path",
                                   "pickle\nloads",
                                   "_pickle\nloads",
                                   "marshal\nloads",
                                   "types\nCodeType",
                                   "types\nFunctionType",
                                   "torch\nload",
                                   "torch.hub\nload",
                                   "torch.jit\nload",
                                   "shutil\nrmtree",
                                   "socket\nsocket",
                                   "webbrowser\nopen",
                                   "ctypes\nCDLL",
                                   "functools\npartial",
                                   "operator\nattrgetter",
                                   "torch.utils.cpp_extension\nload",
                                   "numpy\nload",
                                   "numpy.testing._private.utils\nruncommand",
                                   "bdb\nBdb",
                                   "pty\nspawn",
                                   "code\nInteractiveInterpreter"};
  for (const std::string callable : callables) {
    for (const std::string& pickle :
         {kStart + Text("w") + "c" + callable + "\n" + command + "\x85Rs.",               // REDUCE
          std::string("\x80\x04", 2) + "c" + callable + "\n" + command + "\x85\x81."}) {  // NEWOBJ
      const std::string complaint = Complaint(Checkpoint(pickle));
      std::string name = callable;
      name.replace(name.find('\n'), 1, ".");
      EXPECT_NE(complaint.find(Format("wants `{}` of Python", name)), std::string::npos) << complaint;
      EXPECT_NE(complaint.find("nothing of it was run"), std::string::npos);
    }
    const size_t line = callable.find('\n');
    const std::string stacked = std::string("\x80\x04", 2) + Text(callable.substr(0, line)) +
                                Text(callable.substr(line + 1)) + "\x93" + command + "\x85R.";
    EXPECT_NE(Complaint(Checkpoint(stacked)).find("nothing of it was run"), std::string::npos) << callable;
  }
  EXPECT_FALSE(std::filesystem::exists(marker));
}

// As configurations of OmegaConf have them, which Lightning keeps beside the weights.
TEST(TorchFile, TypesOfPythonArePassedOverByBothTheirNames) {
  for (const std::string name : {"builtins\nint", "__builtin__\nlong", "__builtin__\nunicode", "__builtin__\nxrange"}) {
    const std::string pickle = kStart + Text("w") + Make({}) + "s" + Text("type") + "c" + name + "\ns.";
    EXPECT_EQ(Complaint(Checkpoint(pickle)), "");
    EXPECT_EQ(ParseTorchFile(Checkpoint(pickle), "a.pth").tensors().size(), 1u);
  }
}

// As mmengine's checkpoints have them of their log buffers.
TEST(TorchFile, MethodsOfWhatIsPassedOverAreToo) {
  const auto method = [](const std::string& of) {
    return kStart + Text("w") + Make({}) + "s" + Text("log") + "c__builtin__\ngetattr\n" + of + Text("min") + "\x86Rs.";
  };
  const WeightMap weights =
      ParseTorchFile(Checkpoint(method("cmmengine.logging.history_buffer\nHistoryBuffer\n")), "a.pth");
  EXPECT_EQ(weights.tensors().size(), 1u);
  EXPECT_TRUE(weights.Has("w"));
  for (const char* other : {"ctorch\nFloatStorage\n", "}", "N"})
    EXPECT_NE(Complaint(Checkpoint(method(other))).find("wants `__builtin__.getattr`"), std::string::npos) << other;
}

TEST(TorchFile, HostilePicklesAreRefused) {
  const auto bytes = [](std::initializer_list<int> list) {
    std::string text;
    for (const int byte : list) text += static_cast<char>(byte);
    return text;
  };
  std::string deep("\x80\x02", 2), wide = kStart + Text("w"), laughs = kStart + Text("w") + "(K\x01q" + bytes({0});
  for (int i = 0; i < 200'000; ++i) deep += ']';
  for (int i = 0; i < 199'999; ++i) deep += 'a';
  for (int i = 0; i < 2'100'000; ++i) wide += '}';
  // {"a": x, "b": x} of {"a": x, "b": x} of ...: two to the thirtieth values in a kilobyte.
  for (int i = 0; i < 30; ++i)
    laughs += "}(" + Text("a") + "h" + bytes({i}) + Text("b") + "h" + bytes({i}) + "uq" + bytes({i + 1});
  laughs += "ts.";
  std::string remembered = std::string("\x80\x02N", 3);
  for (uint32_t i = 0; i < 2'100'000; ++i) remembered += "r" + Raw(i);
  std::string marks("\x80\x02", 2);
  marks.append(4'100'000, '(');
  std::string appended = kStart + Text("w") + "]";
  for (int i = 0; i < 16'100'000; ++i) appended += "Na";
  std::string ordered = std::string("\x80\x02", 2) + "]q" + bytes({0}) + "(";
  for (int i = 0; i < 1000; ++i) ordered += bytes({'N', 'N', 0x86});
  ordered += "e";
  for (int i = 0; i < 20'000; ++i) ordered += "ccollections\nOrderedDict\nh" + bytes({0, 0x85}) + "R";

  const std::pair<std::string, std::string> files[] = {
      {"", "does not begin"},
      {"\x80", "cut off"},
      {bytes({0x80, 0}) + "}.", "protocol 0"},
      {bytes({0x80, 9}) + "}.", "protocol 9"},
      {bytes({0x80, 2}), "cut off"},
      {bytes({0x80, 2, '.'}), "left over"},
      {bytes({0x80, 2, '}', '}', '.'}), "left over"},
      {bytes({0x80, 2, '(', '}', '.'}), "left over"},
      {bytes({0x80, 2, 't', '.'}), "never began"},
      {bytes({0x80, 2, 'u', '.'}), "never began"},
      {bytes({0x80, 2, 0x85, '.'}), "more than it has put down"},
      {bytes({0x80, 2, '}', '(', 0x85, '.'}), "more than it has put down"},
      {bytes({0x80, 2, 's', '.'}), "more than it has put down"},
      {bytes({0x80, 2, 'q', 1, '.'}), "more than it has put down"},
      {bytes({0x80, 2, 'h', 7, '.'}), "recalls value 7"},
      {bytes({0x80, 2, 'j', -1, -1, -1, -1, '.'}), "recalls value 4294967295"},
      {bytes({0x80, 2, 'X', -1, -1, -1, -1, 'a'}), "cut off"},
      {bytes({0x80, 2, 0x8d, -1, -1, -1, -1, -1, -1, -1, 127, 'a'}), "cut off"},
      {bytes({0x80, 2, 'c', 'o', 's'}), "cut off"},
      {bytes({0x80, 2, 'i'}) + "os\nsystem\n.", "instruction 0x69"},    // INST
      {bytes({0x80, 2, '(', 'o', '.'}), "instruction 0x6f"},            // OBJ
      {bytes({0x80, 2, 0x82, 1, '.'}), "instruction 0x82"},             // EXT1
      {bytes({0x80, 2, 'P'}) + "id\n.", "instruction 0x50"},            // PERSID
      {bytes({0x80, 2, 'I'}) + "1\n.", "instruction 0x49"},             // text number
      {bytes({0x80, 2, 0x97, '.'}), "instruction 0x97"},                // NEXT_BUFFER
      {bytes({0x80, 2, 0x96}) + Raw<uint64_t>(9), "instruction 0x96"},  // BYTEARRAY8
      {bytes({0x80, 2, 'N', ')', 'R', '.'}), "no name"},
      {bytes({0x80, 2}) + "ctorch\nSize\nNR.", "no tuple"},
      {bytes({0x80, 2}) + "ctorch\nSize\n)R.", "not made of one tuple"},
      {bytes({0x80, 2}) + "ctorch\nFloatStorage\n)\x81.", "makes an object"},
      {bytes({0x80, 2}) + "ccollections\nOrderedDict\n]NaNa\x85R.", "no pairs"},
      {bytes({0x80, 2, 'N', '}', 'b', '.'}), "attributes"},
      {bytes({0x80, 2, 'N', 'N', 'a', '.'}), "no list"},
      {bytes({0x80, 2, 'N', 'N', 'N', 's', '.'}), "no dictionary"},
      {bytes({0x80, 2, '}', '(', 'N', 'u', '.'}), "without a value"},
      {bytes({0x80, 2, 'N', 'N', 0x93, '.'}), "no text"},
      {bytes({0x80, 2, 'N', '.'}), "no dictionary of tensors"},
      {bytes({0x80, 2, ']', '.'}), "no dictionary of tensors"},
      {kStart + "NNs.", "neither text nor number"},
      {kStart + "]Ns.", "neither text nor number"},
      {kStart + Text("a\xff") + "Ns.", "neither text nor number"},
      {bytes({0x80, 2, '}', 'q', 0}) + Text("me") + "h" + bytes({0}) + "s.", "nested more than"},
      {deep + ".", "no dictionary of tensors"},
      {kStart + Text("w") + deep.substr(2) + "s.", "nested more than"},
      {laughs, "more values than those of any weights"},
      {wide, "more than 2000000 values"},
      {remembered, "remembers more than"},
      {marks, "deeper stack"},
      {ordered, "hold more than"},
      {appended, "hold more than"},
      {bytes({0x80, 2}) + Make({}) + ".", "without a name"},
      {kStart + Text("w") + Make({}) + "s" + Text("w") + Make({}) + "s.", "there twice"},
      {kStart + Text("w") + "(" + Text("storage") + "ctorch\nFloatStorage\n" + Text("0") + Text("cpu") + Int(6) +
           "tQs.",
       "bare storage"},
      {kStart + Text("w") + "ctorch._utils\n_rebuild_tensor_v2\n)Rs.", "too few values"},
      {kStart + Text("w") + "ctorch._utils\n_rebuild_parameter\nN\x85Rs.", "not made of a tensor"},
      {kStart + Text("w") + "ctorch\nFloatStorage\n)Rs.", "makes no tensor"},
      {Named({.key = "1"}), "missing"},
      {Named({.key = "../../etc/passwd"}), "missing"},
      {Named({.tag = "module"}), "unknown kind"},
      {Named({.type = "ctorch\nSize\n"}), "of the class"},
      {Named({.type = "ctorch\nDoubleStorage\n"}), "claims 6 values, but holds 24 bytes"},
      {Named({.count = 7}), "claims 7 values"},
      {Named({.count = -1}), "no whole number"},
      {Named({.count = int64_t{1} << 62}), "claims"},
      {Named({.offset = -1}), "no whole number"},
      {Named({.offset = 1}), "reaches to value 6"},
      {Named({.offset = INT64_MAX}), "reaches to value"},
      {Named({.sizes = {7}, .strides = {1}}), "reaches to value 6"},
      {Named({.sizes = {-2, -3}}), "no whole number"},
      {Named({.strides = {-3, -1}}), "no whole number"},
      {Named({.sizes = {6}}), "1 sizes and 2 strides"},
      {Named({.sizes = {2, 3}, .strides = {INT64_MAX, 1}}), "reaches to value"},
      {Named({.sizes = {5, 3}, .strides = {INT64_MAX, INT64_MAX}}), "too large to count"},
      {Named({.sizes = {INT64_MAX, INT64_MAX}, .strides = {0, 0}}), "too large to count"},
      {Named({.sizes = {int64_t{1} << 40}, .strides = {0}}), "far larger than the file"},
      {Named({.sizes = std::vector<int64_t>(100, 1), .strides = std::vector<int64_t>(100, 1)}), "no tuple of sizes"},
      {Named({.maker = "ctorch._utils\n_rebuild_sparse_tensor\n"}), "wants `torch._utils._rebuild_sparse_tensor`"},
      {Named({.maker = "ctorch._utils\n_rebuild_qtensor\n"}), "wants `torch._utils._rebuild_qtensor`"},
      {bytes({0x80, 2}) + "ctorchvision.models.resnet\nResNet\n)\x81}b.", "wants `torchvision.models.resnet.ResNet`"},
  };
  for (const auto& [pickle, expected] : files) {
    const std::string complaint = Complaint(Checkpoint(pickle));
    EXPECT_NE(complaint.find(expected), std::string::npos) << "wanted: " << expected << "\nsaid: " << complaint;
  }
}

TEST(TorchFile, HostileArchivesAreRefused) {
  const ZipFile pickle{.name = "a/data.pkl", .bytes = Named({})},
      data{.name = "a/data/0", .bytes = std::string(24, '\1')};
  const auto with = [&](auto change) {
    std::vector<ZipFile> files = {pickle, data};
    change(files);
    return Zip(files);
  };
  using Files = std::vector<ZipFile>;
  ASSERT_EQ(Complaint(Zip({pickle, data})), "");
  const std::string good = Zip({pickle, data});
  const std::pair<std::string, std::string> files[] = {
      {"", "empty"},
      {"PK", "too short"},
      {"MZ" + std::string(600, '\0'), "no checkpoint"},
      {"<!DOCTYPE html>", "no checkpoint"},
      {good.substr(0, good.size() - 1), "cut off"},
      {good.substr(0, good.size() / 2), "cut off"},
      {good + "x", "cut off"},
      {Zip({pickle, data}, 1), "claims 3 files"},
      {Zip({pickle, data}, 60'000), "claims 60002 files"},
      {Zip({pickle, data}, 0, 1 << 20), "outside the file"},
      {Zip({pickle, data}, 0, -5), "damaged"},
      {Zip({}), "not one folder"},
      {with([](Files& f) { f[0].method = 8; }), "compressed"},
      {with([](Files& f) { f[1].method = 99; }), "compressed"},
      {with([](Files& f) { f[0].flags = 1; }), "encrypted"},
      {with([](Files& f) { f[1].size_lie = 1 << 30; }), "more than the archive holds"},
      {with([](Files& f) { f[1].size_lie = -25; }), "more than the archive holds"},
      {with([](Files& f) { f[1].packed_lie = -20; }), "bytes stored as"},
      {with([](Files& f) { f[0].packed_lie = 1000; }), "bytes stored as"},
      {with([](Files& f) { f[0].size_lie = 40; }), "overlap"},
      {with([](Files& f) { f[1].place_lie = -4; }), "not where"},
      {with([](Files& f) { f[1].place_lie = 1 << 30; }), "not where"},
      {with([](Files& f) { f.push_back(f[1]); }), "twice"},
      {with([](Files& f) { f[1].name = "b/data/0"; }), "not one folder"},
      {with([](Files& f) { f[0].name = "data.pkl"; }), "outside one folder"},
      {with([](Files& f) { f[0].name = "/data.pkl"; }), "outside one folder"},
      {with([](Files& f) { f[0].name = "a/other"; }), "no data.pkl"},
      {with([](Files& f) { f.push_back({.name = "a/constants.pkl", .bytes = ""}); }), "TorchScript"},
      {with([](Files& f) { f.push_back({.name = "a/byteorder", .bytes = "big"}); }), "big-endian"},
      {with([](Files& f) { f.pop_back(); }), "missing"},
  };
  for (const auto& [file, expected] : files) {
    const std::string complaint = Complaint(file);
    EXPECT_NE(complaint.find(expected), std::string::npos) << "wanted: " << expected << "\nsaid: " << complaint;
  }
  // Two files that are one and the same bytes.
  std::vector<ZipFile> shared = {pickle, data, {.name = "a/data/1", .bytes = ""}};
  shared[2].place_lie = -static_cast<int64_t>(30 + data.name.size() + data.bytes.size());
  EXPECT_NE(Complaint(Zip(shared)).find("overlap"), std::string::npos);
}

// Whatever bytes are changed, the file is read or refused; tensors that come out can be read to their last value.
TEST(TorchFile, DamagedFilesAreReadOrRefused) {
  for (const char* name : {"kinds.pth", "training.pth"}) {
    const std::string good = ReadFile(GoldenFile(name));
    int refused = 0;
    for (uint64_t trial = 0; trial < 1500; ++trial) {
      Random random(Seed(1).With(name).With(trial));
      std::string bad = good;
      for (uint64_t i = 0; i < 1 + trial % 4; ++i)
        bad[static_cast<size_t>(random.Below(static_cast<int64_t>(bad.size())))] = static_cast<char>(random.Below(256));
      if (trial % 5 == 0) bad.resize(static_cast<size_t>(random.Below(static_cast<int64_t>(bad.size()))));
      try {
        const WeightMap read = ParseTorchFile(bad, "a.pth");
        for (const auto& [key, tensor] : read.tensors()) (void)tensor.clone();
      } catch (const Error&) {
        ++refused;
      }
    }
    EXPECT_GT(refused, 300);
  }
}

TEST(TorchFile, ATupleOfTensorsIsNamedByNumbers) {
  const std::string start("\x80\x02(", 3);
  const WeightMap weights =
      ParseTorchFile(Checkpoint(start + Make({}) + Make({.sizes = {6}, .strides = {1}}) + "t."), "a");
  EXPECT_EQ(weights.tensors().size(), 2u);
  EXPECT_EQ(weights.At("0").sizes(), (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(weights.At("1").sizes(), std::vector<int64_t>{6});
  EXPECT_EQ(Complaint(Checkpoint(start + Make({}) + "Nt.")), Complaint(Checkpoint("\x80\x02N.")));
}

}  // namespace
}  // namespace genview
