package simpersona;

import java.io.IOException;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.common.errors.SerializationException;
import org.apache.kafka.common.serialization.Deserializer;

/** Avro behind a Confluent header to a generic record; null for the topic's records that are no clicks. */
final class ClickDeserializer implements Deserializer<GenericRecord> {
    private static final int HEADER_BYTES = 5;
    /** The packaged schema's id, the header's last byte; producers also send watermark records under another one. */
    private static final byte CLICK_EVENT_ID = 1;

    private final GenericDatumReader<GenericRecord> reader;
    private BinaryDecoder decoder;

    ClickDeserializer(Schema schema) {
        reader = new GenericDatumReader<>(schema);
    }

    @Override
    public GenericRecord deserialize(String topic, byte[] value) {
        if (value == null || value.length <= HEADER_BYTES || value[HEADER_BYTES - 1] != CLICK_EVENT_ID) {
            return null;
        }
        decoder = DecoderFactory.get().binaryDecoder(value, HEADER_BYTES, value.length - HEADER_BYTES, decoder);
        try {
            return reader.read(null, decoder);
        } catch (IOException error) {
            throw new SerializationException("The value is no click in Avro.", error);
        }
    }
}
